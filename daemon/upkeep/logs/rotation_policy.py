"""Decides which log file is rotated and why, the name of its archive, and which archives are dropped.

Pure. Archives are named `NAME.20260102T030405.123456Z` (UTC), with `.gz` or `.zst` after it. So names sort by time. No
time is used twice, even when the clock goes back. There is no state file: all state is in names and sizes.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Final

from msgspec import Struct

from ...units import size, span

PART: Final = ".part"  # being written; removed at start
HEAD: Final = ".head"  # copied from the head of a file that is not collapsed yet
_STAMP: Final = "%Y%m%dT%H%M%S.%fZ"
_ARCHIVE: Final = re.compile(
    r"^(?P<live>.+)\.(?P<stamp>[0-9]{8}T[0-9]{6}\.[0-9]{6}Z)(?P<packed>\.gz|\.zst|)$", re.DOTALL
)
_LAST_YEAR: Final = 9999
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class RotationPolicy(Struct, frozen=True):
    """When to rotate a set of files and what to keep. Zero means no limit; `every` counts whole periods in UTC."""

    every_seconds: float = 0.0
    max_size_bytes: int = 0
    keep: int = 0
    max_age_seconds: float = 0.0
    max_total_bytes: int = 0
    compress: str = "gzip"
    method: str = "reopen"
    truncate_if_unsupported: bool = False


class Live(Struct, frozen=True):
    """A file that is written to. `began` is the earliest time of its first line, seconds since 1970."""

    name: str
    bytes: int
    began: float


class Archive(Struct, frozen=True):
    """A rotated file. `modified` is the time of its last line, seconds since 1970."""

    name: str
    live: str
    stamp: str
    bytes: int
    modified: float

    @property
    def packed(self) -> bool:
        """Whether it is compressed."""
        return self.name.endswith((".gz", ".zst"))


def parse_archive(name: str) -> tuple[str, str] | None:
    """The live file's name and the stamp in an archive's name; None for any other name."""
    found = _ARCHIVE.match(name)
    return (found["live"], found["stamp"]) if found and _is_time(found["stamp"]) else None


def _is_time(stamp: str) -> bool:
    """Whether an archive may carry this stamp: a valid date, and not the last possible one."""
    try:
        return datetime.strptime(stamp, _STAMP).replace(tzinfo=UTC).year < _LAST_YEAR
    except ValueError:
        return False


def is_leftover(name: str, ending: str = PART) -> bool:
    """Whether a crash of ours left `name`: an archive's name followed by `ending`."""
    return name.endswith(ending) and parse_archive(name.removesuffix(ending)) is not None


def is_ours(name: str, lives: Collection[str]) -> bool:
    """Whether a file is one of `lives`, an archive of one, or what a crash left of an archive. Nothing else is ours."""
    parsed = parse_archive(name)
    for ending in (PART, HEAD):
        if parsed is None and name.endswith(ending):
            parsed = parse_archive(name.removesuffix(ending))
    return name in lives or (parsed is not None and parsed[0] in lives)


def next_stamp(now: float, used: Iterable[str]) -> str:
    """The stamp for an archive made now: later than every stamp in use, whatever the clock shows."""
    stamp = (_EPOCH + timedelta(seconds=now)).strftime(_STAMP)
    newest = max(used, default="")
    if stamp <= newest:
        moment = datetime.strptime(newest, _STAMP).replace(tzinfo=UTC)
        stamp = (moment + timedelta(microseconds=1)).strftime(_STAMP)
    return stamp


def stamp_micros(stamp: str) -> int:
    """A stamp as whole microseconds since 1970: the number in the mark of a collapse."""
    return (datetime.strptime(stamp, _STAMP).replace(tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)


def stamp_seconds(stamp: str) -> float:
    """A stamp as seconds since 1970."""
    return stamp_micros(stamp) / 1e6


def why_rotate(live: Live, policy: RotationPolicy, now: float, *, force: bool = False) -> tuple[bool, str]:
    """Whether the file is rotated now, and why."""
    if live.bytes == 0:
        return False, "empty"
    if force:
        return True, "asked for"
    if policy.max_size_bytes and live.bytes >= policy.max_size_bytes:
        return True, f"{size(live.bytes)}, at most {size(policy.max_size_bytes)}"
    if policy.every_seconds and now // policy.every_seconds > live.began // policy.every_seconds:
        return True, f"begun {span(max(0.0, now - live.began))} ago, rotated every {span(policy.every_seconds)}"
    return False, f"{size(live.bytes)}, nothing due"


_NONE: Final[Mapping[str, RotationPolicy]] = MappingProxyType({})


class Drop(Struct, frozen=True):
    """An archive that is dropped, and why."""

    name: str
    bytes: int
    because: str


def drops(
    archives: Sequence[Archive],
    policy: RotationPolicy,
    now: float,
    *,
    live_bytes: int = 0,
    surplus: frozenset[str] = frozenset(),
    policies: Mapping[str, RotationPolicy] = _NONE,
) -> list[Drop]:
    """The archives of one set to drop: the `surplus` by number, those past `max_age`, then the oldest past `max_total`.

    Times in the future count as now. The total counts the live files, which themselves are never dropped; it is a hard
    limit, whatever `keep` would keep. `policies` has the files with a policy of their own; the total is `policy`'s.
    """
    found: list[Drop] = []
    kept: list[Archive] = []
    for archive in sorted(archives, key=lambda a: a.stamp, reverse=True):
        age, its = now - archive.modified, policies.get(archive.live, policy)
        if archive.name in surplus:
            found.append(Drop(archive.name, archive.bytes, f"more than {its.keep} of {archive.live}"))
        elif its.max_age_seconds and age > its.max_age_seconds:
            found.append(Drop(archive.name, archive.bytes, f"older than {span(its.max_age_seconds)}"))
        else:
            kept.append(archive)
    total = live_bytes + sum(a.bytes for a in kept)
    while policy.max_total_bytes and total > policy.max_total_bytes and kept:
        oldest = kept.pop()
        total -= oldest.bytes
        found.append(Drop(oldest.name, oldest.bytes, f"together more than {size(policy.max_total_bytes)}"))
    return found


def oldest_to_spare(archives: Sequence[Archive], *, leave: int = 2) -> Archive | None:
    """The archive to drop when the disk is full: never one of the newest `leave`, nor the newest of its file.

    Several files are rotated in the same moment, and the newest archive of each holds the latest lines.
    """
    order = sorted(archives, key=lambda a: a.stamp)
    newest = {archive.live: archive for archive in order}
    older = [archive for archive in order if newest[archive.live] is not archive]
    return older[0] if older and len(order) > leave else None
