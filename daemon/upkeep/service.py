"""The interface of upkeep: measure, sweep, rotate, show logs. Each gives an answer of the API.

A process of its own counts and sweeps (sweeper_process.py). Rotation, compression (compress_thread.py) and reading of
logs have a thread each, so that none waits for another. Nothing runs on the event loop. It holds what must last from
one pass to the next: how long not to try a full disk again.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Final, TypeVar

from msgspec import UNSET, Struct, UnsetType, field
from msgspec.structs import replace

from ..answers.disk import ClassProgress, DeletedOpen, DiskAnswer, DiskProgressAnswer, ListedPath, SweepAnswer
from ..answers.logs import LogReport, LogsAnswer, LogTailAnswer, RotateAnswer
from ..config.load import Config
from ..errors import NotKnown, Refused
from ..system import processes
from ..system.clock import Clock
from ..units import shown
from . import syscalls
from .clock_guard import ClockJudgement
from .clock_record import TrustedClock
from .disk import sweeper_client
from .disk.directory_visitor import Keep
from .disk.outcome import SweepOutcome
from .disk.precheck import glance
from .disk.quota import Margin
from .disk.sweep import Orders
from .disk.sweeper_protocol import (
    Counted,
    Counting,
    CountRequest,
    SweepRequest,
    Swept,
)
from .from_config import (
    JOBS,
    KEPT_BY_RETENTION,
    ON_STANDARD_OUTPUT,
    OWN_LOGS,
    log_sets,
    margin,
    rules,
)
from .fs_port import FileSystemPort
from .logs.compress_thread import Packing
from .logs.log_directory import archives_of, list_logs, live_names, open_log_directory
from .logs.rotation_outcome import LogSet
from .logs.rotator import Rotator
from .logs.tail import Tail, tail
from .open_files import deleted_but_open

T = TypeVar("T")
BACK_OFF_SECONDS: Final = 600.0
MAX_LINES: Final = 5_000
PACK_WAIT_SECONDS: Final = 5.0
"""How long a rotation waits for compression of its archives. A large archive is compressed after that."""


def retention_decides(rule: str) -> Keep:
    """Versions and compiled versions go by retention alone, unless the caller decides otherwise; jobs by their own
    rule.
    """
    if rule == JOBS:
        return lambda name: "jobs go by jobs.keep alone"
    return (lambda name: "only retention removes versions") if rule in KEPT_BY_RETENTION else (lambda name: "")


class LogWithArchives(Struct, frozen=True):
    """A log: its live file, the number of its archives, and the bytes that all of them take on the disk."""

    name: str
    path: str
    archives: int
    bytes: int


class _UpkeepMemory(Struct):
    disk_quiet_until: float = 0.0
    progress: dict[str, ClassProgress] = field(default_factory=dict)
    no_glance: int = 0


SWEEP_SECONDS: Final = 600.0
SWEEPS_WITHOUT_GLANCE: Final = 5
"""After a pass that needed a full sweep: there is more to read than the precheck can, or more to remove soon."""


class Upkeep:
    """Disk and logs of one daemon. `keep(class)(unit)` gives why a unit must stay; `pids` are our processes.
    `left_alone` are classes that are not swept at all, each with the reason.

    `keep` is called on the event loop. The function that it returns may be called from a thread, and uses what was true
    at that time.
    """

    def __init__(
        self,
        config: Callable[[], Config],
        clock: Clock,
        *,
        keep: Callable[[str], Keep] = retention_decides,
        left_alone: Callable[[], dict[str, str]] = dict,
        pids: Callable[[], Sequence[int]] = tuple,
        files: FileSystemPort | None = None,
        spawn: sweeper_client.SpawnSweeper = processes.spawn,
        argv: Sequence[str] = tuple(processes.python(sweeper_client.MODULE)),
    ) -> None:
        self._spawn, self._argv, self._one_errand = spawn, argv, asyncio.Lock()
        self._config, self._clock, self._keep, self._pids, self._left_alone = config, clock, keep, pids, left_alone
        self._files = files or FileSystemPort()
        self._stop = threading.Event()
        self.clock_held = ""  # why the wall clock was not believed in the last pass
        self._memory = _UpkeepMemory()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="upkeep", initializer=syscalls.lower_io_priority)
        self._reading = ThreadPoolExecutor(1, thread_name_prefix="reading", initializer=syscalls.lower_io_priority)
        self._trusted = TrustedClock(config().control.state_dir, clock, newest=self._newest_archive)
        self._rotator = Rotator(self._files, clock, self._stop)
        self._packing = Packing(lambda reopened: self._rotator.compress(log_sets(self._config()), reopened=reopened))

    async def aside(self, work: Callable[[], T]) -> T:
        """Runs one of the synchronous methods below on upkeep's thread: `await upkeep.aside(upkeep.rotate)`.

        Raises Refused after the end.
        """
        return await self._on(self._thread, work)

    async def reading(self, work: Callable[[], T]) -> T:
        """The same for `logs` and `tail`, on a thread that rotation does not use."""
        return await self._on(self._reading, work)

    async def _on(self, thread: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        try:
            waiting = asyncio.get_running_loop().run_in_executor(thread, work)
        except RuntimeError as e:  # a request that came while the daemon ends
            if not self._stop.is_set():
                raise
            raise Refused("cannot do that: the daemon is ending; nothing was changed") from e
        return await waiting

    def read_later(self, work: Callable[[], None]) -> None:
        """Runs this on the same thread after what it runs now, and does not wait. Raises RuntimeError after the end."""
        self._reading.submit(work)

    async def pack(self, *, reopened: bool) -> list[str]:
        """Starts compression of rotated logs and waits a few seconds for it. Returns what failed in the last whole
        round.
        """
        await self._packing.request(reopened=reopened, wait_seconds=PACK_WAIT_SECONDS)
        return [shown(sentence) for sentence in self._packing.last.trouble]

    def close(self) -> None:
        """Ends what runs and waits for it, which may take as long as a disk hangs: not on the event loop."""
        self._stop.set()
        self._packing.close()
        for thread in (self._thread, self._reading):
            thread.shutdown(wait=True, cancel_futures=True)

    async def disk(self) -> DiskAnswer:
        """What takes the space: classes, disks, deleted files that are still open. Raises Refused."""
        request = CountRequest(rules(self._config()), list(self._pids()))
        try:
            found = await self._errand(request)
        finally:
            self._memory.progress.clear()
        assert isinstance(found, Counted)
        return found.usage.answer()

    def progress(self) -> DiskProgressAnswer:
        """The progress of a running count, by class."""
        return DiskProgressAnswer(list(self._memory.progress.values()))

    def _note_progress(self, counting: Counting) -> None:
        self._memory.progress.pop(counting.rule, None)
        self._memory.progress[counting.rule] = ClassProgress(counting.rule, counting.files, counting.bytes)

    async def _errand(self, request: SweepRequest | CountRequest) -> Swept | Counted:
        async with self._one_errand:
            return await sweeper_client.run(
                request,
                self._spawn,
                self._argv,
                seconds=SWEEP_SECONDS,
                why_keep=lambda rule, unit: self._keep(rule)(unit),
                progress=self._note_progress,
            )

    async def sweep(self, *, dry_run: bool = False, by_hand: bool = False) -> SweepAnswer:
        """One pass. A dry run lists each path with its reason. Raises Refused when it could not be done at all.

        After a pass that could not free enough, the free-space limit rests for ten minutes, unless it is requested by
        hand.
        """
        config, memory = self._config(), self._memory
        resting = self._clock.monotonic() < memory.disk_quiet_until and not by_hand and not dry_run
        given = Orders(
            rules(config),
            0.0,
            min_age_seconds=config.disk.min_age,
            min_free=Margin() if resting else margin(config.disk.min_free),
            target_free=Margin() if resting else margin(config.disk.target_free),
            dry_run=dry_run,
            left_alone=self._left_alone(),
        )
        given, nothing = await self._glance(given, at_all=not dry_run and not by_hand)
        if nothing:
            return self._answer(nothing, resting)
        done = await self._errand(SweepRequest(given, listing=dry_run))
        assert isinstance(done, Swept)
        return self._answer(done.outcome, resting, done.listed if dry_run else UNSET)

    async def _glance(self, given: Orders, *, at_all: bool) -> tuple[Orders, SweepOutcome | None]:
        """The orders with the time that is trusted; the outcome without a process of its own, when nothing has to go
        and there is little to read.
        """
        memory = self._memory
        wanted = at_all and memory.no_glance <= 0
        # Called here, on the event loop: a thread must not touch anything of the daemon's.
        keeps = {rule.name: self._keep(rule.name) for rule in given.rules} if wanted else {}

        def look() -> tuple[Orders, SweepOutcome | None]:
            judged = self._judged()
            orders = replace(given, now=judged.now, clock_trouble=judged.refused)
            if not wanted:
                return orders, None
            how = partial(glance, files=self._files, clock=self._clock, stop=self._stop, keep=keeps.__getitem__)
            return orders, how(orders)

        orders, nothing = await self.reading(look)
        if wanted and nothing is None:
            memory.no_glance = SWEEPS_WITHOUT_GLANCE
        elif at_all and not wanted:
            memory.no_glance -= 1
        return orders, nothing

    def _answer(
        self, outcome: SweepOutcome, resting: bool, listed: list[ListedPath] | UnsetType = UNSET
    ) -> SweepAnswer:
        if self._short(outcome):
            self._memory.disk_quiet_until = self._clock.monotonic() + BACK_OFF_SECONDS
        return outcome.answer(resting=resting, listed=listed)

    @staticmethod
    def _short(outcome: SweepOutcome) -> bool:
        return any("cannot bring the disk" in sentence for sentence in outcome.trouble)

    def rotate(self, *, force: bool = False, dry_run: bool = False, file: str = "") -> RotateAnswer:
        """Rotates what is due. Call `pack` afterwards; with `tell_writers` first ask all writers to reopen."""
        sets = log_sets(self._config())
        only = self._path_of(sets, file)
        return self._rotator.rotate(sets, force=force, only=only, dry_run=dry_run, judged=self._judged()).answer()

    def clock_trouble(self) -> str:
        """Why the wall clock is not trusted now, "" when it is. On a thread: it reads a small file."""
        return self._judged().trouble

    def _judged(self) -> ClockJudgement:
        """What the clocks allow now; kept for `clock_held`."""
        judged = self._trusted.judge()
        self.clock_held = judged.held
        return judged

    def _newest_archive(self) -> float:
        """When the newest archive of our own logs was written, seconds since 1970; 0 for none."""
        own = self._config().logs.dir
        if own is None:
            return 0.0
        try:
            fd = open_log_directory(str(own), self._files)
        except (OSError, Refused):
            return 0.0
        try:
            return max((a.modified for a in list_logs(fd, self._files).archives if a.live in OWN_LOGS), default=0.0)
        except OSError:
            return 0.0
        finally:
            self._files.close(fd)

    def compress(self, *, reopened: bool) -> RotateAnswer:
        """Compresses what was rotated; `reopened`: every writer has confirmed that it reopened."""
        return self._rotator.compress(log_sets(self._config()), reopened=reopened).answer()

    def tidy(self) -> RotateAnswer:
        """Once at the start: finishes what a crash left half done."""
        return self._rotator.tidy(log_sets(self._config())).answer()

    def logs(self, pids: Sequence[int] = ()) -> LogsAnswer:
        """The existing log files, ours first, and the deleted ones that these processes still write to."""
        found = []
        directories = {log_set.directory for log_set in log_sets(self._config())}
        for log_set in log_sets(self._config()):
            with self._live(log_set) as (fd, names):
                for name in names:
                    try:
                        facts = self._files.stat(name, dir_fd=fd, follow_symlinks=False)
                    except OSError:
                        continue
                    path = f"{log_set.directory}/{name}"
                    found.append(LogReport(shown(name), shown(path), facts.st_size, log_set.own))
        gone = [
            DeletedOpen(pid, path, used)
            for pid, path, used in deleted_but_open(list(pids), empty=True)
            if path.rpartition("/")[0] in directories
        ]
        return LogsAnswer(found, gone, self._config().logs.dir is None)

    def tail(self, name: str, lines: int) -> LogTailAnswer:
        """The last lines of a log by its name (`access.log`, `access`) or path. Raises NotKnown for any other."""
        with self._named(name) as (fd, directory, known):
            path = f"{directory}/{known}"
            try:
                found = tail(known, min(lines, MAX_LINES), dir_fd=fd)
            except FileNotFoundError:
                found = Tail([])
            except OSError as e:
                raise Refused(f"cannot read {path}: {e.strerror}; nothing is shown") from e
            return LogTailAnswer(known, path, found.lines, found.truncated)

    def files_of(self, name: str) -> LogWithArchives:
        """The live file of a log and its archives. Raises NotKnown."""
        with self._named(name) as (fd, directory, known):
            archives, _heads = archives_of(directory, known, self._files)
            try:
                live_bytes = self._files.stat(known, dir_fd=fd, follow_symlinks=False).st_blocks * 512
            except OSError:
                live_bytes = 0
            together = live_bytes + sum(archive.bytes for archive in archives)
            return LogWithArchives(known, f"{directory}/{known}", len(archives), together)

    @contextmanager
    def _named(self, name: str) -> Iterator[tuple[int, str, str]]:
        """The open directory of a log, its path, and the log's name in it. Raises NotKnown."""
        wanted = name or OWN_LOGS[0]
        for log_set in log_sets(self._config()):
            with self._live(log_set) as (fd, names):
                for known in names:
                    if wanted in (known, known.removesuffix(".log"), f"{log_set.directory}/{known}"):
                        yield fd, log_set.directory, known
                        return
        if self._config().logs.dir is None and wanted in (*OWN_LOGS, *(own.removesuffix(".log") for own in OWN_LOGS)):
            raise NotKnown(f"cannot show {wanted}: {ON_STANDARD_OUTPUT}")
        raise NotKnown(f"cannot show {name[:255]!r}: no log of that name; GET /v1/logs names them")

    @contextmanager
    def _live(self, log_set: LogSet) -> Iterator[tuple[int, list[str]]]:
        """The open directory of a set and the names of its live files; no names when it cannot be used."""
        try:
            fd = open_log_directory(log_set.directory, self._files)
        except (OSError, Refused):
            yield -1, []
            return
        try:
            try:
                names = live_names(list_logs(fd, self._files), log_set.patterns)
            except OSError:
                names = []
            yield fd, names
        finally:
            self._files.close(fd)

    def _path_of(self, sets: Sequence[LogSet], file: str) -> str:
        if not file or "/" in file:
            return file
        for log_set in sets:
            with self._live(log_set) as (_, names):
                for name in names:
                    if file in (name, name.removesuffix(".log")):
                        return f"{log_set.directory}/{name}"
        return file
