"""Does one pass of disk upkeep: by age during the walk, by each class's quota, then below the quotas while a disk is
low.

Synchronous, for a thread or a process of its own: it never touches the event loop. quota.py decides; this module acts.
After each round it leaves out what was in use, and measures the disk again instead of trusting sums. Invariant: a file
that cannot be removed raises nothing, and a class that fails does not stop the other classes.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from msgspec import Struct, field
from msgspec.structs import replace

from ...answers.disk import DiskSpace, DiskSwept
from ...errors import Refused
from ...system.clock import Clock
from ...units import count, size
from ..fs_port import FileSystemPort
from . import reasons, trash
from .allowed_roots import open_root
from .directory_visitor import Keep, UnitGatherer, remove_unit
from .file_table import FileTable
from .file_visitor import Cleaner, Report, VisitTally, restore_times
from .outcome import ClassOutcome, SweepOutcome
from .quota import Ages, ClassRule, Margin, below_free, blocked_by, over_quota, shortfall, wanted
from .remover import Budget, Remover
from .walk import TRASH, Interrupted, lock, walk

MAX_ROUNDS = 8
_HELD = -2


class Orders(Struct, frozen=True):
    """The parameters of one sweep. `now` is a trusted time (clock_guard.py). If `clock_trouble` is not empty, nothing
    is removed. `left_alone` are classes that are not touched, each with the reason.
    """

    rules: Sequence[ClassRule]
    now: float
    min_age_seconds: float = 600.0
    min_free: Margin = field(default_factory=Margin)
    target_free: Margin = field(default_factory=Margin)
    budget: Budget = field(default_factory=Budget)
    dry_run: bool = False
    clock_trouble: str = ""
    left_alone: dict[str, str] = field(default_factory=dict)


def sweep(
    orders: Orders,
    *,
    files: FileSystemPort,
    clock: Clock,
    stop: threading.Event,
    keep: Callable[[str], Keep] = lambda rule: lambda name: "",
    report: Report | None = None,
) -> SweepOutcome:
    """Runs one pass. `keep(class)` gives a test for units that must stay. `report` is called with each path and its
    code.
    """
    return _Pass(orders, files, clock, stop, keep, report).run()


def space_of(fd: int, files: FileSystemPort) -> DiskSpace:
    """The disk of an open directory, as a process without privileges may use it."""
    v = files.statvfs(fd)
    return DiskSpace(v.f_blocks * v.f_frsize, v.f_bavail * v.f_frsize, v.f_files, v.f_favail)


def words_of(code: int, rule: ClassRule, orders: Orders) -> str:
    """The sentence for a code under a rule."""
    return reasons.sentence(
        code,
        rule.name,
        max_age_seconds=max(rule.max_age_seconds, orders.min_age_seconds),
        max_bytes=rule.max_bytes,
        max_files=rule.max_files,
        min_age_seconds=orders.min_age_seconds,
    )


class _Pass(Struct):
    """What all classes of one pass share. It sweeps each class, then each disk, then sums up."""

    orders: Orders
    files: FileSystemPort
    clock: Clock
    stop: threading.Event
    keep: Callable[[str], Keep]
    report: Report | None

    def run(self) -> SweepOutcome:
        started, outcome = self.clock.monotonic(), SweepOutcome(dry_run=self.orders.dry_run)
        if self.orders.clock_trouble:
            outcome.trouble.append(f"cannot sweep: {self.orders.clock_trouble}; nothing was removed")
            return outcome
        with ExitStack() as stack:
            opened = [self._open(rule, outcome, stack) for rule in self.orders.rules]
            classes = [c for c in opened if c is not None]
            identities = frozenset(c.identity for c in classes)
            for c in classes:
                try:
                    c.sweep(identities - {c.identity})
                except OSError as e:
                    outcome.trouble.append(f"cannot sweep {c.rule.path} to its end: {e.strerror}; the rest goes on")
            for device in dict.fromkeys(c.table.device for c in classes):
                self._sweep_disk([c for c in classes if c.table.device == device], outcome)
            for c in classes:
                c.close_books()
        outcome.more = any(c.remover.exhausted for c in classes)
        outcome.seconds = self.clock.monotonic() - started
        return outcome

    def _open(self, rule: ClassRule, outcome: SweepOutcome, stack: ExitStack) -> _ClassSweep | None:
        """Opens and locks the directory of a class. None, with the reason in the outcome, when the class is skipped."""
        said = ClassOutcome(rule.name, rule.path)
        outcome.classes.append(said)
        if why := self.orders.left_alone.get(rule.name):
            said.note = f"{why}; nothing was touched"
            return None
        try:
            fd = open_root(rule.path, self.files)
            stack.callback(self.files.close, fd)
            if lock(fd, self.files):
                return _ClassSweep(self, rule, said, fd, self.files.fstat(fd), space_of(fd, self.files))
            said.note = "locked by another process: left alone"
        except FileNotFoundError:
            said.note = "does not exist yet"
        except Refused as e:
            said.refused = str(e)
        except OSError as e:
            said.refused = f"cannot sweep {rule.path}: {e.strerror}; nothing was touched"
        outcome.trouble += [said.refused] if said.refused else []
        return None

    def _sweep_disk(self, classes: list[_ClassSweep], outcome: SweepOutcome) -> None:
        disk = _DiskSweep(self, classes)
        try:
            after = disk.sweep(outcome)
        except OSError as e:
            outcome.trouble.append(f"cannot measure the disk of {classes[0].rule.path}: {e.strerror}")
            return
        outcome.disks.append(DiskSwept([c.rule.name for c in classes], disk.before, after))


class _ClassSweep:
    """One class: its open directory, what was found in it, and what was done with it."""

    def __init__(
        self, shared: _Pass, rule: ClassRule, outcome: ClassOutcome, fd: int, found: os.stat_result, space: DiskSpace
    ) -> None:
        self._shared, self.rule, self._outcome, self.fd, self.space = shared, rule, outcome, fd, space
        self.identity, orders = (found.st_dev, found.st_ino), shared.orders
        self.table = FileTable(rule.path, found.st_dev)
        self.remover = Remover(shared.files, shared.clock, orders.budget, shared.stop, dry_run=orders.dry_run)
        self._ages = Ages.of(rule, now=orders.now, min_age_seconds=orders.min_age_seconds, device=found.st_dev)
        self._keep = shared.keep(rule.name)
        self._tally = VisitTally()
        self._reasons: dict[int, str] = {}
        self._seen_whole = False
        self._missing = (0, 0)  # bytes and files, after the last cut

    def sweep(self, others: frozenset[tuple[int, int]]) -> None:
        """Sweeps by age, then to the quota. `others` are directories that have a class of their own. Raises OSError."""
        self.remover.restart()
        if not self._shared.orders.dry_run and not self.rule.ours:
            self._empty_trash()
        if self.rule.unit == "directory":
            self._walk(UnitGatherer(self.table, self._ages, self._keep, self._reasons), others)
            self._outcome.before_bytes, self._outcome.before_files = sum(self.table.bytes), len(self.table)
            old = [row for row in range(len(self.table)) if self.table.codes[row] == reasons.OLDER]
            self.remove(old, reasons.OLDER)
        else:
            cleaner = Cleaner(self.rule, self._ages, self.table, self.remover, report=self._shared.report)
            self._walk(cleaner, others)
            self._tally = cleaner.tally
            self._outcome.before_bytes, self._outcome.before_files = cleaner.before_bytes, cleaner.before_files
        for _ in range(MAX_ROUNDS):
            cuts = over_quota(self.table, self.rule)
            self._missing = (
                max((cut.missing_bytes for cut in cuts), default=0),
                max((cut.missing_files for cut in cuts), default=0),
            )
            if not any(cut.rows for cut in cuts) or not self.remover.may_go_on():
                break
            for cut in cuts:
                self.remove(cut.rows, cut.code)

    def _walk(self, visitor: Cleaner | UnitGatherer, others: frozenset[tuple[int, int]]) -> None:
        ours = bool(self.rule.ours)
        skip = () if ours else (TRASH,)
        try:
            walk(
                self.fd,
                visitor,
                files=self._shared.files,
                locking=True,
                skip=skip,
                exclude=others,
                stop=self._shared.stop,
                flat=ours,
            )
            self._seen_whole = True
        except Interrupted:
            self.remover.exhausted = True

    def _empty_trash(self) -> None:
        try:
            emptied = trash.empty(self.fd, self.remover)
        except OSError as e:
            self._outcome.note = f"cannot empty {self.rule.path}/{TRASH}: {e.strerror or e}; left alone"
            return
        if emptied.failed:
            self._outcome.note = f"{count(emptied.failed, 'entry', 'entries')} of {TRASH} could not go"

    def remove(self, rows: Sequence[int], code: int) -> None:
        """Removes rows of the table, a directory at a time, and sets the code of each result."""
        if self.rule.unit == "directory":
            for row in rows:
                self._mark(row, self._remove_unit(row), code)
            if rows and not self._shared.orders.dry_run:
                self._empty_trash()
            return
        by_place: dict[int, list[int]] = {}
        for row in rows:
            by_place.setdefault(self.table.where[row], []).append(row)
        for place, mine in by_place.items():
            self._remove_from(place, mine, code)

    def _remove_unit(self, row: int) -> int:
        if not self.remover.may_go_on():
            return reasons.LATER
        now = self._shared.orders.now
        return remove_unit(self.fd, self.table, row, self.remover, self._keep, self._reasons, now=now)

    def _remove_from(self, place: int, rows: list[int], code: int) -> None:
        table, remover = self.table, self.remover
        with ExitStack() as stack:
            try:
                fd = self._open_place(place, stack)
            except OSError:
                fd = -1
            if fd < 0:
                for row in rows:
                    self._mark(row, reasons.LOCKED if fd == _HELD else reasons.CHANGED, code)
                return
            before = remover.files.fstat(fd)
            for row in rows:
                spared = reasons.LATER
                if remover.may_go_on():
                    spared = remover.remove(
                        fd,
                        table.names[row],
                        table.device,
                        table.inodes[row],
                        table.stamps[row],
                        table.bytes[row],
                        special=row in table.specials,
                    )
                self._mark(row, spared, code)
            restore_times(fd, before, remover)

    def _open_place(self, place: int, stack: ExitStack) -> int:
        """The descriptor of a place, with every directory on the way locked.

        Returns -1 when the place was replaced meanwhile, _HELD when another process holds a lock. Raises OSError.
        """
        files, places = self.remover.files, self.table.places
        chain = []
        while places[place].parent >= 0:
            chain.append(places[place])
            place = places[place].parent
        fd = self.fd
        for step in reversed(chain):
            fd = files.open_directory(step.name, dir_fd=fd)
            stack.callback(files.close, fd)
            if files.fstat(fd).st_ino != step.inode:
                return -1
            if not lock(fd, files):
                return _HELD
        return fd

    def _mark(self, row: int, spared: int, code: int) -> None:
        table, used = self.table, self.table.bytes[row]
        if spared and spared != reasons.GONE:
            table.codes[row] = spared
            return
        if not spared:
            self._tally.add(code, used)
            self._tell(row, code)
        table.codes[row] = reasons.REMOVED
        table.bytes[row] = 0

    def _tell(self, row: int, code: int) -> None:
        if self._shared.report is not None:
            self._shared.report(self.table.path(row), self.table.bytes[row], code)

    def close_books(self) -> None:
        """Sums up what was removed and what stayed, each with its reason, and what is missing to the quota."""
        outcome, table, orders = self._outcome, self.table, self._shared.orders
        outcome.complete = self._seen_whole
        for row, (code, used) in enumerate(zip(table.codes, table.bytes, strict=True)):
            if code == reasons.REMOVED:
                continue
            if code == reasons.KEPT and row in self._reasons:
                text = self._reasons[row]
                number, total = outcome.spared.get(words := f"kept: {text}", (0, 0))
                outcome.spared[words] = (number + 1, total + used)
            else:
                self._tally.add(code, used)
            self._tell(row, code)
        for code, (number, used) in sorted(self._tally.by_code.items()):
            goes = reasons.removes(code)
            (outcome.removed if goes else outcome.spared)[words_of(code, self.rule, orders)] = (number, used)
            outcome.removed_files += number if goes else 0
            outcome.removed_bytes += used if goes else 0
        outcome.after_bytes = outcome.before_bytes - outcome.removed_bytes
        outcome.after_files = outcome.before_files - outcome.removed_files
        missing_bytes, missing_files = self._missing
        if missing_bytes or missing_files:
            goal = size(self.rule.max_bytes) if missing_bytes else f"{self.rule.max_files:,} files"
            outcome.shortfall = shortfall(
                f"{self.rule.name} under {goal}",
                missing_bytes=missing_bytes,
                missing_inodes=missing_files,
                freed_bytes=outcome.removed_bytes,
                blocked=_blocked([self], orders),
            )


class _DiskSweep:
    """One disk and its classes: sweeps below the quotas while the disk is low. `before` is its space at the start."""

    def __init__(self, shared: _Pass, classes: list[_ClassSweep]) -> None:
        self._shared, self._classes = shared, classes
        self.before = classes[-1].space

    def sweep(self, outcome: SweepOutcome) -> DiskSpace:
        """Removes until enough is free and measures after each round. Returns the space at the end. Raises OSError."""
        for _ in range(MAX_ROUNDS):
            space, want_bytes, want_inodes = self._wanted()
            if want_bytes <= 0 and want_inodes <= 0:
                return space
            tables = [c.table for c in self._classes]
            cuts = below_free(tables, want_bytes=want_bytes, want_inodes=want_inodes)
            asked = [(c, cut) for c, cut in zip(self._classes, cuts, strict=True) if cut.rows]
            for c, cut in asked:
                c.remove(cut.rows, cut.code)
            if not asked:
                break
            if all(c.remover.exhausted for c, _ in asked):
                return self._measure()
        space, want_bytes, want_inodes = self._wanted()
        if want_bytes > 0 or want_inodes > 0:
            floor = size(self._shared.orders.min_free.of(space.total_bytes))
            outcome.trouble.append(
                shortfall(
                    f"the disk of {', '.join(c.rule.name for c in self._classes)} to {floor} free",
                    missing_bytes=want_bytes,
                    missing_inodes=want_inodes,
                    freed_bytes=sum(c.remover.freed_bytes for c in self._classes),
                    blocked=_blocked(self._classes, self._shared.orders),
                )
            )
        return space

    def _wanted(self) -> tuple[DiskSpace, int, int]:
        """The space now, and the bytes and inodes to free."""
        space, orders = self._measure(), self._shared.orders
        return space, *wanted(space, min_free=orders.min_free, target_free=orders.target_free)

    def _measure(self) -> DiskSpace:
        """The disk now; in a dry run, as it would be after the sweep."""
        if not self._shared.orders.dry_run:
            return space_of(self._classes[0].fd, self._shared.files)
        freed = sum(c.remover.freed_bytes for c in self._classes)
        gone = sum(c.remover.removed for c in self._classes)
        return replace(
            self.before, free_bytes=self.before.free_bytes + freed, free_inodes=self.before.free_inodes + gone
        )


def _blocked(classes: Sequence[_ClassSweep], orders: Orders) -> dict[int, str]:
    """What blocks the sweep, by code, as sentences. Limits in them are those of the first class."""
    return {
        code: f"{words_of(code, classes[0].rule, orders)} {size(used)} ({number:,})"
        for code, (number, used) in blocked_by([c.table for c in classes]).items()
    }
