"""One pass of disk upkeep: each class by age, bytes and files, then the disks that are low, in the classes' order.

Synchronous, for a thread of its own: `sweep()` never touches the event loop. The decisions are quota.py's; this does
them, looks again after each (what was in use is left out of the next round) and measures the disk instead of trusting
sums. Nothing raises because a file could not go; one class that fails does not keep the others from being swept.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

from ..clock import Clock
from ..errors import Refused
from ..units import count, size
from . import because, trash
from .cleaner import Cleaner, Report, Tally, restore_times
from .files import Files
from .outcome import ClassOutcome, Disk, SweepOutcome
from .quota import Ages, Margin, Rule, Space, below_free, blocked_by, over_quota, shortfall, wanted
from .remover import Budget, Remover
from .roots import open_root
from .table import Table
from .units import Keep, UnitGatherer, remove_unit
from .walk import TRASH, Interrupted, lock, walk

MAX_ROUNDS = 8


@dataclass(frozen=True, slots=True)
class Orders:
    """What one sweep is asked. `now` is a trusted time (trusted.py); `clock_trouble` not empty: nothing is removed."""

    rules: Sequence[Rule]
    now: float
    min_age_seconds: float = 600.0
    min_free: Margin = field(default_factory=Margin)
    target_free: Margin = field(default_factory=Margin)
    budget: Budget = field(default_factory=Budget)
    dry_run: bool = False
    clock_trouble: str = ""


@dataclass(slots=True)
class _Class:
    """One class while it is swept."""

    rule: Rule
    outcome: ClassOutcome
    fd: int
    device: int
    inode: int
    space: Space
    table: Table
    remover: Remover
    ages: Ages
    tally: Tally = field(default_factory=Tally)
    reasons: dict[int, str] = field(default_factory=dict)
    seen_whole: bool = False
    last_cut_missing: tuple[int, int] = (0, 0)


def sweep(
    orders: Orders,
    *,
    files: Files,
    clock: Clock,
    stop: threading.Event,
    keep: Callable[[str], Keep] = lambda rule: lambda name: "",
    report: Report | None = None,
) -> SweepOutcome:
    """Runs one pass. `keep(class)` gives the test of units that must stay; `report` hears of each path and its code."""
    started = clock.monotonic()
    outcome = SweepOutcome(dry_run=orders.dry_run)
    if orders.clock_trouble:
        outcome.trouble.append(f"cannot sweep: {orders.clock_trouble}; nothing was removed")
        return outcome
    with ExitStack() as stack:
        classes = _open_all(orders, outcome, files, clock, stop, stack)
        identities = frozenset((c.device, c.inode) for c in classes)
        for c in classes:
            others = identities - {(c.device, c.inode)}
            try:
                _sweep_class(c, orders, files, stop, keep(c.rule.name), report, others)
            except OSError as e:
                outcome.trouble.append(f"cannot sweep {c.rule.path} to its end: {e.strerror}; the rest goes on")
        for device, before in {c.device: c.space for c in classes}.items():
            mine = [c for c in classes if c.device == device]
            try:
                after = _sweep_disk(mine, orders, before, files, keep, report, outcome)
            except OSError as e:
                outcome.trouble.append(f"cannot measure the disk of {mine[0].rule.path}: {e.strerror}")
                continue
            outcome.disks.append(Disk([c.rule.name for c in mine], before, after))
        for c in classes:
            _close_books(c, orders, report)
    outcome.more = any(c.remover.exhausted for c in classes)
    outcome.seconds = clock.monotonic() - started
    return outcome


def space_of(fd: int, files: Files) -> Space:
    """The disk that holds an open directory, as one without privileges may use it."""
    v = files.statvfs(fd)
    return Space(v.f_blocks * v.f_frsize, v.f_bavail * v.f_frsize, v.f_files, v.f_favail)


def _open_all(
    orders: Orders, outcome: SweepOutcome, files: Files, clock: Clock, stop: threading.Event, stack: ExitStack
) -> list[_Class]:
    classes = []
    for rule in orders.rules:
        said = ClassOutcome(rule.name, rule.path)
        outcome.classes.append(said)
        try:
            fd = open_root(rule.path, files)
        except FileNotFoundError:
            said.note = "does not exist yet"
            continue
        except Refused as e:
            said.refused = str(e)
            outcome.trouble.append(str(e))
            continue
        except OSError as e:
            said.refused = f"cannot sweep {rule.path}: {e.strerror}; nothing was touched"
            outcome.trouble.append(said.refused)
            continue
        stack.callback(files.close, fd)
        if not lock(fd, files):
            said.note = "locked by another process: left alone"
            continue
        try:
            found, space = files.fstat(fd), space_of(fd, files)
        except OSError as e:
            said.refused = f"cannot sweep {rule.path}: {e.strerror}; nothing was touched"
            outcome.trouble.append(said.refused)
            continue
        device = found.st_dev
        remover = Remover(files, clock, orders.budget, stop, dry_run=orders.dry_run)
        ages = Ages.of(rule, now=orders.now, min_age_seconds=orders.min_age_seconds, device=device)
        classes.append(_Class(rule, said, fd, device, found.st_ino, space, Table(rule.path, device), remover, ages))
    return classes


def _sweep_class(
    c: _Class,
    orders: Orders,
    files: Files,
    stop: threading.Event,
    keep: Keep,
    report: Report | None,
    others: frozenset[tuple[int, int]],
) -> None:
    c.remover.restart()
    if not orders.dry_run and not c.rule.ours:
        _empty_trash(c)
    visitor: Cleaner | UnitGatherer
    if c.rule.unit == "directory":
        visitor = UnitGatherer(c.table, c.ages, keep, c.reasons)
    else:
        visitor = Cleaner(c.rule, c.ages, c.table, c.remover, report=report)
    try:
        skip = () if c.rule.ours else (TRASH,)
        flat = bool(c.rule.ours)
        walk(c.fd, visitor, files=files, locking=True, skip=skip, exclude=others, stop=stop, flat=flat)
        c.seen_whole = True
    except Interrupted:
        c.remover.exhausted = True
    c.tally = visitor.tally if isinstance(visitor, Cleaner) else c.tally
    if isinstance(visitor, Cleaner):
        c.outcome.before_bytes, c.outcome.before_files = visitor.before_bytes, visitor.before_files
    else:
        c.outcome.before_bytes, c.outcome.before_files = sum(c.table.bytes), len(c.table)
        old = [row for row in range(len(c.table)) if c.table.codes[row] == because.OLDER]
        _remove(c, old, because.OLDER, keep, report, orders)
    for _ in range(MAX_ROUNDS):
        cuts = over_quota(c.table, c.rule)
        rows = [(cut, row) for cut in cuts for row in cut.rows]
        c.last_cut_missing = (
            max((cut.missing_bytes for cut in cuts), default=0),
            max((cut.missing_files for cut in cuts), default=0),
        )
        if not rows or not c.remover.may_go_on():
            break
        for cut in cuts:
            _remove(c, cut.rows, cut.code, keep, report, orders)


def _empty_trash(c: _Class) -> None:
    try:
        emptied = trash.empty(c.fd, c.remover)
    except OSError as e:
        c.outcome.note = f"cannot empty {c.rule.path}/{TRASH}: {e.strerror or e}; left alone"
        return
    if emptied.failed:
        c.outcome.note = f"{count(emptied.failed, 'entry', 'entries')} of {TRASH} could not go"
    c.outcome.trash_bytes += emptied.bytes


def _remove(c: _Class, rows: Sequence[int], code: int, keep: Keep, report: Report | None, orders: Orders) -> None:
    """Removes rows of the table, a directory at a time; marks each with what became of it."""
    table, remover = c.table, c.remover
    if c.rule.unit == "directory":
        for row in rows:
            spared = because.LATER
            if remover.may_go_on():
                spared = remove_unit(c.fd, table, row, remover, keep, c.reasons, now=orders.now)
            _mark(c, row, spared, code, report)
        if rows and not orders.dry_run:
            _empty_trash(c)
        return
    by_place: dict[int, list[int]] = {}
    for row in rows:
        by_place.setdefault(table.where[row], []).append(row)
    for place, mine in by_place.items():
        _remove_from(c, place, mine, code, report)


def _remove_from(c: _Class, place: int, rows: list[int], code: int, report: Report | None) -> None:
    table, remover, files = c.table, c.remover, c.remover.files
    with ExitStack() as stack:
        try:
            fd = _open_place(c, place, stack)
        except OSError:
            fd = -1
        if fd < 0:
            for row in rows:
                _mark(c, row, because.LOCKED if fd == -2 else because.CHANGED, code, report)
            return
        before = files.fstat(fd)
        for row in rows:
            spared = because.LATER
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
            _mark(c, row, spared, code, report)
        restore_times(fd, before, remover)


def _open_place(c: _Class, place: int, stack: ExitStack) -> int:
    """The descriptor of a place, locked all the way down; -2 when somebody holds a lock. Raises OSError."""
    files, table = c.remover.files, c.table
    chain = []
    while table.places[place].parent >= 0:
        chain.append(table.places[place])
        place = table.places[place].parent
    fd = c.fd
    for step in reversed(chain):
        fd = files.open_directory(step.name, dir_fd=fd)
        stack.callback(files.close, fd)
        if files.fstat(fd).st_ino != step.inode:
            return -1
        if not lock(fd, files):
            return -2
    return fd


def _mark(c: _Class, row: int, spared: int, code: int, report: Report | None) -> None:
    table = c.table
    used = table.bytes[row]
    if spared and spared != because.GONE:
        table.codes[row] = spared
        return
    if not spared:
        c.tally.add(code, used)
        if report is not None:
            report(table.path(row), used, code)
    table.codes[row] = because.REMOVED
    table.bytes[row] = 0


def _sweep_disk(
    classes: list[_Class],
    orders: Orders,
    before: Space,
    files: Files,
    keep: Callable[[str], Keep],
    report: Report | None,
    outcome: SweepOutcome,
) -> Space:
    """Past the quotas while the disk is low; measured again after each round. Returns the space at the end."""
    tables = [c.table for c in classes]
    for _ in range(MAX_ROUNDS):
        space = _measure(classes, orders, before, files)
        want_bytes, want_inodes = wanted(space, min_free=orders.min_free, target_free=orders.target_free)
        if want_bytes <= 0 and want_inodes <= 0:
            return space
        cuts = below_free(tables, want_bytes=want_bytes, want_inodes=want_inodes)
        for c, cut in zip(classes, cuts, strict=True):
            _remove(c, cut.rows, cut.code, keep(c.rule.name), report, orders)
        if not any(cut.rows for cut in cuts):
            break
        if all(c.remover.exhausted for c, cut in zip(classes, cuts, strict=True) if cut.rows):
            return _measure(classes, orders, before, files)
    space = _measure(classes, orders, before, files)
    want_bytes, want_inodes = wanted(space, min_free=orders.min_free, target_free=orders.target_free)
    if want_bytes > 0 or want_inodes > 0:
        floor = size(orders.min_free.of(space.total_bytes))
        goal = f"the disk of {', '.join(c.rule.name for c in classes)} to {floor} free"
        outcome.trouble.append(
            shortfall(
                goal,
                missing_bytes=want_bytes,
                missing_inodes=want_inodes,
                freed_bytes=sum(c.remover.freed_bytes for c in classes),
                blocked=_blocked_words(tables, classes[0], orders),
            )
        )
    return space


def _measure(classes: list[_Class], orders: Orders, before: Space, files: Files) -> Space:
    """The disk now; in a dry run the disk as it would be."""
    if not orders.dry_run:
        return space_of(classes[0].fd, files)
    freed = sum(c.remover.freed_bytes for c in classes)
    gone = sum(c.remover.removed for c in classes)
    return replace(before, free_bytes=before.free_bytes + freed, free_inodes=before.free_inodes + gone)


def _blocked_words(tables: Sequence[Table], c: _Class, orders: Orders) -> dict[int, str]:
    return {
        code: f"{words_of(code, c.rule, orders)} {size(used)} ({number:,})"
        for code, (number, used) in blocked_by(tables).items()
    }


def words_of(code: int, rule: Rule, orders: Orders) -> str:
    """The sentence for a code under a rule."""
    return because.sentence(
        code,
        rule.name,
        max_age_seconds=max(rule.max_age_seconds, orders.min_age_seconds),
        max_bytes=rule.max_bytes,
        max_files=rule.max_files,
        min_age_seconds=orders.min_age_seconds,
    )


def _close_books(c: _Class, orders: Orders, report: Report | None) -> None:
    outcome, table = c.outcome, c.table
    outcome.complete = c.seen_whole
    for row, (code, used) in enumerate(zip(table.codes, table.bytes, strict=True)):
        if code != because.REMOVED:
            if code == because.KEPT and row in c.reasons:
                number, total = outcome.spared.get(words := f"kept: {c.reasons[row]}", (0, 0))
                outcome.spared[words] = (number + 1, total + used)
            else:
                c.tally.add(code, used)
            if report is not None:
                report(table.path(row), used, code)
    outcome.removed_files, outcome.removed_bytes = 0, 0
    for code, (number, used) in sorted(c.tally.by_code.items()):
        words = words_of(code, c.rule, orders)
        if because.removes(code):
            outcome.removed[words] = (number, used)
            outcome.removed_files += number
            outcome.removed_bytes += used
        else:
            outcome.spared[words] = (number, used)
    outcome.after_bytes = outcome.before_bytes - outcome.removed_bytes
    outcome.after_files = outcome.before_files - outcome.removed_files
    missing_bytes, missing_files = c.last_cut_missing
    if missing_bytes or missing_files:
        goal = f"{c.rule.name} under {size(c.rule.max_bytes) if missing_bytes else f'{c.rule.max_files:,} files'}"
        outcome.shortfall = shortfall(
            goal,
            missing_bytes=missing_bytes,
            missing_inodes=missing_files,
            freed_bytes=outcome.removed_bytes,
            blocked=_blocked_words([table], c, orders),
        )
