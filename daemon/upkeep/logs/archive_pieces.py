"""Decides which archives of one log count as one for `keep`: those that a rotation on time would have left in one file.

Pure. A rotation by hand cuts a file before it is due. Its pieces are in one period of `every` and together are smaller
than `max_size`, so they count as one archive. Rotations by hand therefore never make `keep` drop more lines. Invariant:
each archive of a rotation that was due counts as one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from .rotation_policy import Archive, RotationPolicy

MAX_PIECES: Final = 100
"""After this many rotations by hand in one period a further one leaves the file as it is."""


def past_keep(archives: Sequence[Archive], policy: RotationPolicy, lengths: Mapping[str, int]) -> frozenset[str]:
    """The names of the archives of one file that are over `policy.keep`; zero keeps all.

    `lengths` are the bytes of each archive's lines, uncompressed. If that is not known, its bytes on disk count.
    """
    gone: list[str] = []
    count, period, together = 0, -1, 0
    for archive in sorted(archives, key=lambda a: a.stamp, reverse=True):
        length = max(archive.bytes if archive.name not in lengths else 0, lengths.get(archive.name, 0))
        together += length
        if count == 0 or not _joins(archive, period, together, policy):
            count, together = count + 1, length
        period = _period(archive.modified, policy)
        if policy.keep and count > policy.keep:
            gone.append(archive.name)
    return frozenset(gone)


def pieces(archives: Sequence[Archive], policy: RotationPolicy, now: float) -> int:
    """How many archives of one file are in the current period."""
    if not (policy.every_seconds or policy.max_size_bytes):
        return 0
    return sum(_period(archive.modified, policy) == _period(now, policy) for archive in archives)


def _joins(archive: Archive, period: int, together: int, policy: RotationPolicy) -> bool:
    if not (policy.every_seconds or policy.max_size_bytes):
        return False  # rotated only by hand: each counts
    if policy.max_size_bytes and together >= policy.max_size_bytes:
        return False
    return _period(archive.modified, policy) == period


def _period(moment: float, policy: RotationPolicy) -> int:
    return int(moment // policy.every_seconds) if policy.every_seconds else 0
