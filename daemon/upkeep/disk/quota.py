"""Decides what a sweep removes: by age during the walk, then by each class's limits, then by the disk's free space.

Pure: it reads tables and returns row numbers, each with the code of its reason (reasons.py). Invariant: it never
chooses a row that is younger than the minimum age, in use, kept by name, or of an age that cannot be trusted. It does
not estimate space that others free: the caller measures again after each pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from msgspec import Struct

from ...answers.disk import DiskSpace
from ...units import count, size
from . import reasons as because
from .file_table import FileTable

_KIND = 0o170000
_REGULAR = 0o100000
_SPECIAL = frozenset((0o120000, 0o010000, 0o140000))  # links, FIFOs, sockets: they take inodes, are removed like files
_STICKY = 0o1000


class Stat(Protocol):
    """The part of a stat result that is judged."""

    @property
    def st_mode(self) -> int: ...
    @property
    def st_nlink(self) -> int: ...
    @property
    def st_dev(self) -> int: ...
    @property
    def st_mtime(self) -> float: ...
    @property
    def st_ctime(self) -> float: ...


class ClassRule(Struct, frozen=True):
    """One class. Zero means no limit.

    `unit` is "file", or "directory" for entries of the root that are removed as a whole. `active` are names directly
    below the root that are never removed (log files that are being written). `ours`, if not empty, are log files: only
    their archives directly below the root may be removed. Everything else there belongs to other programs.
    """

    name: str
    path: str
    max_age_seconds: float = 0.0
    max_bytes: int = 0
    max_files: int = 0
    unit: str = "file"
    active: frozenset[str] = frozenset()
    ours: frozenset[str] = frozenset()

    @property
    def limited(self) -> bool:
        """Whether the class has a limit of its own."""
        return bool(self.max_age_seconds or self.max_bytes or self.max_files)


class Ages(Struct, frozen=True):
    """The age limits as points in time, seconds since 1970. They are computed once for each sweep."""

    young_after: float
    old_before: float
    future_after: float
    device: int

    @classmethod
    def of(cls, rule: ClassRule, *, now: float, min_age_seconds: float, device: int) -> Ages:
        """The limits of a rule at a trusted `now`. The minimum age wins over a shorter maximum age."""
        old = now - max(rule.max_age_seconds, min_age_seconds) if rule.max_age_seconds else float("-inf")
        return cls(now - min_age_seconds, old, now + 86400, device)


def by_age(stats: Iterable[Stat], ages: Ages) -> tuple[list[int], list[float]]:
    """The codes of all entries that are no directories, by kind and age alone, and their times in seconds.

    The time of an entry is the later of its change and modification times.
    """
    young, old, future, device = ages.young_after, ages.old_before, ages.future_after, ages.device
    codes, stamps = [], []
    for st in stats:
        stamp, changed, mode = st.st_mtime, st.st_ctime, st.st_mode
        if changed > stamp:
            stamp = changed
        if mode & _KIND != _REGULAR and mode & _KIND not in _SPECIAL:
            code = because.DEVICE
        elif st.st_dev != device:
            code = because.ELSEWHERE
        elif stamp > young:
            code = because.FUTURE if stamp > future else because.YOUNG
        elif st.st_nlink != 1:
            code = because.HARD_LINKED
        elif mode & _STICKY:
            code = because.STICKY
        else:
            code = because.OLDER if stamp < old else because.WITHIN
        codes.append(code)
        stamps.append(stamp)
    return codes, stamps


def unit_by_age(stamp: float, ages: Ages) -> int:
    """The code of a directory that is removed as a whole; `stamp` is the time of the youngest entry in it."""
    if stamp > ages.young_after:
        return because.FUTURE if stamp > ages.future_after else because.YOUNG
    return because.OLDER if stamp < ages.old_before else because.WITHIN


class Cut(Struct, frozen=True):
    """Rows of one table to remove for one reason, oldest first, and how much is still missing after that."""

    rows: Sequence[int]
    code: int
    missing_bytes: int = 0
    missing_files: int = 0


def over_quota(table: FileTable, rule: ClassRule) -> list[Cut]:
    """What to remove, oldest first, so that the rows of a table fit the byte and file limits of their rule.

    Files of other programs in a directory of ours do not count against our limits.
    """
    ours = [used for used, code in zip(table.bytes, table.codes, strict=True) if code != because.FOREIGN]
    excess_bytes = sum(ours) - rule.max_bytes if rule.max_bytes else 0
    excess_files = len(ours) - table.codes.count(because.REMOVED) - rule.max_files if rule.max_files else 0
    if excess_bytes <= 0 and excess_files <= 0:
        return []
    order = _oldest_first(table)
    cuts = []
    if excess_bytes > 0:
        # an entry that takes no bytes frees none
        by_bytes = sorted(order, key=lambda row: table.bytes[row] == 0)
        taken, freed = _take_bytes(table, by_bytes, excess_bytes)
        cuts.append(Cut(by_bytes[:taken], because.OVER_BYTES, missing_bytes=max(0, excess_bytes - freed)))
        gone = set(by_bytes[:taken])
        order = [row for row in order if row not in gone]
        excess_files -= taken
    if excess_files > 0:
        more = order[:excess_files]
        cuts.append(Cut(more, because.OVER_FILES, missing_files=excess_files - len(more)))
    return cuts


def below_free(tables: Sequence[FileTable], *, want_bytes: int, want_inodes: int) -> list[Cut]:
    """One cut for each table, in the order given: removes below the quotas, oldest first, until enough is freed.

    What is still missing at the end is in the last cut. All tables must be on the disk that is low.
    """
    cuts = []
    for table in tables:
        order = _oldest_first(table) if want_bytes > 0 or want_inodes > 0 else []
        taken, freed = _take_bytes(table, order, want_bytes)
        code = because.DISK_LOW
        if want_inodes > taken:
            code = because.INODES_LOW if want_bytes <= 0 else because.DISK_LOW
            taken = min(len(order), want_inodes)
            freed = sum(table.bytes[row] for row in order[:taken])
        want_bytes, want_inodes = want_bytes - freed, want_inodes - taken
        cuts.append(Cut(order[:taken], code, max(0, want_bytes), max(0, want_inodes)))
    return cuts


def _oldest_first(table: FileTable) -> list[int]:
    stamps, codes = table.stamps, table.codes
    rows = [row for row in range(len(table)) if codes[row] == because.WITHIN]
    rows.sort(key=stamps.__getitem__)
    return rows


def _take_bytes(table: FileTable, order: Sequence[int], want_bytes: int) -> tuple[int, int]:
    """How many rows of `order` are needed for `want_bytes`, and the sum of their bytes."""
    freed = 0
    for taken, row in enumerate(order):
        if freed >= want_bytes:
            return taken, freed
        freed += table.bytes[row]
    return len(order), freed


class Margin(Struct, frozen=True):
    """How much of a disk should be free: bytes, or a fraction of its size. Both zero: no limit."""

    bytes: int = 0
    fraction: float = 0.0

    def of(self, total: int) -> int:
        """The margin in the units of `total`."""
        return max(self.bytes, int(total * self.fraction))


def wanted(space: DiskSpace, *, min_free: Margin, target_free: Margin) -> tuple[int, int]:
    """Bytes and inodes to free now: nothing above `min_free`, else up to the larger of both margins.

    A margin in bytes sets no limit for inodes. File systems without a fixed number of inodes report zero.
    """
    floor = min_free.of(space.total_bytes)
    target = max(floor, target_free.of(space.total_bytes))
    want_bytes = target - space.free_bytes if space.free_bytes < floor else 0
    floor = int(space.total_inodes * min_free.fraction)
    target = max(floor, int(space.total_inodes * target_free.fraction))
    want_inodes = target - space.free_inodes if space.free_inodes < floor else 0
    return max(0, want_bytes), max(0, want_inodes)


def blocked_by(tables: Iterable[FileTable]) -> dict[int, tuple[int, int]]:
    """For each reason that blocks, how many rows and bytes it keeps, the largest first."""
    found: dict[int, tuple[int, int]] = {}
    for table in tables:
        for code, used in zip(table.codes, table.bytes, strict=True):
            if code in because.BLOCKING:
                number, total = found.get(code, (0, 0))
                found[code] = (number + 1, total + used)
    return dict(sorted(found.items(), key=lambda item: -item[1][1]))


def shortfall(goal: str, *, missing_bytes: int, missing_inodes: int, freed_bytes: int, blocked: dict[int, str]) -> str:
    """One sentence for an alert: what could not be reached, and what blocks it."""
    missing = " and ".join(
        part
        for part in (
            size(missing_bytes) if missing_bytes > 0 else "",
            count(missing_inodes, "file") if missing_inodes > 0 else "",
        )
        if part
    )
    reasons = "; ".join(blocked.values()) or "nothing else here may be removed"
    return f"cannot bring {goal}: {missing} too much is left; freed {size(freed_bytes)}; blocked by: {reasons}"
