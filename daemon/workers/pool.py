"""The worker processes: starts, replaces and retires them by the orders of `pool_planner`, and sees them end.

It knows processes, not versions: a worker is told over its socket what to load. `workers.json` (see pool_record)
records which processes are our workers, so that a daemon that comes back recognises them; a pid alone proves nothing.
"""

from __future__ import annotations

import asyncio
import json
import random
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec
import structlog
from msgspec import Struct

from ...worker.protocol import WorkerSettings
from ...worker.settings import Terms
from ...worker.shared.process_readings import read
from ...worker.shared.progress import ProcessReading, moved, starved
from ..system.background import here
from ..system.clock import Clock
from ..system.processes import (
    ChildProcess,
    Identity,
    identity,
    python,
    spawn,
    take_back,
)
from . import backoff
from .pool_planner import (
    Doubt,
    Kill,
    Member,
    Order,
    Phase,
    PoolLimits,
    Retire,
    Start,
    Vacancy,
    next_look,
    orders,
    places,
)
from .pool_record import PoolRecord
from .running_workers import running_workers

NEVER_BOOTS = 3
"""The exit status by which a worker says that starting it again is no use before something changes."""
KILLED_SECONDS = 2.0
"""What the end waits for workers that were killed: one that hangs in the kernel does not end."""
ABORT_SECONDS = 5.0
"""Between SIGABRT, which makes a hung worker write where it hangs, and SIGKILL."""


class Ended(Struct, frozen=True):
    """A worker process is gone. `status` as Child.wait gives it; `retired` when we had sent it away."""

    name: str
    pid: int
    status: int | None
    retired: bool
    because: str


class WorkerProcess(Struct):
    """One worker process as the pool sees it. `terms` are what it runs with as far as is known, None when it is not."""

    name: str
    child: ChildProcess
    identity: Identity | None
    failures: int
    phase: Phase
    since: float
    heard: float
    outdated: str = ""
    doubted: float | None = None
    seen: ProcessReading | None = None
    killed: str = ""
    terms: Terms | None = None
    ready_at: float | None = None
    watch: asyncio.Task[None] | None = None


def command_line(settings: WorkerSettings) -> list[str]:
    """How a worker is started."""
    return python("modelward.worker", "--settings", msgspec.json.encode(settings).decode())


class WorkerPool:
    """See the module. `ended` is called when a process is gone, `drain` to ask a worker over its socket to leave.

    `settings` gives what a new worker of that name is told, and the listening socket; `command` makes a command line of
    it; `chance` spreads the back-off; `read` says what a process did so far. In charge from its first `step` on: a
    daemon that fails before that leaves a former one's workers alone.
    """

    def __init__(
        self,
        *,
        runtime_dir: Path,
        clock: Clock,
        ended: Callable[[Ended], None],
        drain: Callable[[str], bool],
        settings: Callable[[str], tuple[WorkerSettings, int]],
        command: Callable[[WorkerSettings], list[str]] = command_line,
        chance: Callable[[], float] = random.random,
        read: Callable[[int], ProcessReading | None] = read,
    ) -> None:
        self._record, self._clock = PoolRecord(runtime_dir / "workers.json"), clock
        self._worker_socket = str(runtime_dir / "workers.sock")
        self._ended, self._drain = ended, drain
        self._settings, self._command, self._chance, self._read = settings, command, chance, read
        self._log = structlog.get_logger("pool")
        self._processes: dict[str, WorkerProcess] = {}
        self._former: dict[str, Identity] = {}
        self._vacancies: tuple[Vacancy, ...] = ()
        self._number = 0
        self._in_charge = False
        self.wanted = 0
        self.limits = PoolLimits()

    def process(self, name: str) -> WorkerProcess | None:
        return self._processes.get(name)

    def processes(self) -> tuple[WorkerProcess, ...]:
        return tuple(self._processes.values())

    def vacancies(self) -> tuple[Vacancy, ...]:
        return self._vacancies

    def next_look(self) -> float | None:
        return next_look(self._members(), self._vacancies, self.limits)

    # what others tell it

    def heard(self, name: str, *, ready: bool, terms: Terms | None = None) -> None:
        """The worker said something; `ready` when it can answer requests, or has nothing to load. Runs with `terms`."""
        if process := self._processes.get(name):
            process.terms = terms or process.terms
            process.heard = self._clock.monotonic()
            if ready and process.phase is Phase.STARTING:
                process.phase, process.since, process.ready_at = Phase.READY, process.heard, process.heard
            if process.phase is Phase.READY:
                process.doubted = None

    def replace(self, name: str, because: str) -> bool:
        """The worker is to be replaced, its successor first. False when there is none of that name."""
        process = self._processes.get(name)
        if process is None or process.phase is Phase.RETIRING:
            return False
        process.outdated = process.outdated or because
        return True

    def unblock(self) -> None:
        """Something changed: every empty place may be filled at once."""
        now = self._clock.monotonic()
        self._vacancies = tuple(Vacancy(0, now) for _ in self._vacancies)

    # what it does

    def step(self) -> None:
        """Carries out what `staffing.orders` says now. The first one takes a former daemon's workers back."""
        if self._processes and not self._record.there:  # the runtime directory was emptied or removed
            self._write_down(make_directory=True)
        if not self._in_charge:
            self._in_charge = True
            for name, who in tuple(self._former.items()):
                self.take_back(name, who)
        members, now = self._members(), self._clock.monotonic()
        self._vacancies, _ = places(members, self._vacancies, self.wanted)
        for order in orders(members, self._vacancies, self.wanted, now, self.limits):
            self._carry_out(order)

    def _carry_out(self, order: Order) -> None:
        match order:
            case Start():
                self._start(order)
            case Retire():
                self.retire(order.name, order.because)
            case Doubt():
                process = self._processes[order.name]
                process.doubted, process.seen = self._clock.monotonic(), self._read(process.child.pid)
            case Kill():
                self.kill(order.name, order.because)

    def _start(self, order: Start) -> None:
        failures = 0
        if order.vacancy is not None:
            i = self._vacancies.index(order.vacancy)
            self._vacancies = self._vacancies[:i] + self._vacancies[i + 1 :]
            failures = order.vacancy.failures
        name = self._next_name()
        settings, listen_fd = self._settings(name)
        try:
            child = spawn(self._command(settings), name=name, pass_fds=(listen_fd,))
        except OSError as e:
            self._log.error("cannot start a worker", worker=name, because=str(e))
            self._vacate(failures + 1)
            return
        self._take(name, child, failures, settings.terms())
        self._log.info("worker started", worker=name, pid=child.pid, because=order.because)

    def take_back(self, name: str, who: Identity) -> bool:
        """Takes a worker of a former daemon into the pool. False when it is not that process any more."""
        self._former.pop(name, None)
        if name in self._processes:
            return False
        child = take_back(name, who)
        if child is None:
            return False
        self._take(name, child, 0)
        return True

    def _take(self, name: str, child: ChildProcess, failures: int, terms: Terms | None = None) -> None:
        now = self._clock.monotonic()
        process = WorkerProcess(name, child, identity(child.pid), failures, Phase.STARTING, now, now, terms=terms)
        self._processes[name] = process
        process.watch = here().start("watch of a worker", partial(self._watch, process), restart=True)
        self._write_down()

    async def _watch(self, process: WorkerProcess) -> None:
        status = await process.child.wait()
        now = self._clock.monotonic()
        if self._processes.pop(process.name, None) is None:
            return
        retired = process.phase is Phase.RETIRING
        because = process.killed or _sentence(status)
        if not retired:
            served = now - process.ready_at if process.ready_at is not None else 0.0
            if status == NEVER_BOOTS:
                self._vacancies += (Vacancy(process.failures, now, "it can never boot (exit status 3)"),)
            else:
                self._vacate(backoff.failures_after(process.failures, served))
        self._log.log(
            20 if retired else 30,
            "worker ended",
            worker=process.name,
            pid=process.child.pid,
            status=status,
            because=because,
        )
        try:
            self._write_down()
        finally:
            self._ended(Ended(process.name, process.child.pid, status, retired, because))

    def _vacate(self, failures: int) -> None:
        delay = backoff.delay_seconds(failures, self._chance())
        self._vacancies += (Vacancy(failures, self._clock.monotonic() + delay),)

    def retire(self, name: str, because: str) -> None:
        """Tells a worker to finish what it has and leave; killed when it takes too long."""
        process = self._processes.get(name)
        if process is None or process.phase is Phase.RETIRING:
            return
        process.phase, process.since, process.doubted = Phase.RETIRING, self._clock.monotonic(), None
        self._log.info("worker retires", worker=name, because=because)
        if not self._drain(name):
            process.child.signal(signal.SIGTERM)

    def kill(self, name: str, because: str) -> None:
        """Ends a worker that does not answer: its stack first, then its group."""
        process = self._processes.get(name)
        if process is None or process.killed:
            return
        process.killed = because
        self._log.warning("worker killed", worker=name, pid=process.child.pid, because=because)
        process.child.signal(signal.SIGABRT)
        asyncio.get_running_loop().call_later(ABORT_SECONDS, process.child.kill_group)

    async def end_lost(self) -> None:
        """Kills those of a former daemon's workers that did not come back; returns when they are gone."""
        lost = [name for name, who in tuple(self._former.items()) if self.take_back(name, who)]
        for name in lost:
            self.kill(name, "it did not come back, and the address that clients connect to is in use")
        if watches := [process.watch for process in self.processes() if process.name in lost and process.watch]:
            await asyncio.wait(watches, timeout=ABORT_SECONDS + 1.0)

    async def close(self, drain_seconds: float) -> None:
        """Retires every worker and waits; workers that are left after `drain_seconds` are killed."""
        if not self._in_charge:
            await self.leave()
            return
        self.wanted = 0
        for process in self.processes():
            self.retire(process.name, "the daemon stops")
        watches = [h.watch for h in self.processes() if h.watch]
        if watches:
            await asyncio.wait(watches, timeout=drain_seconds)
        for process in self.processes():
            process.child.kill_group()
        if watches := [h.watch for h in self.processes() if h.watch]:
            await asyncio.wait(watches, timeout=KILLED_SECONDS)
        self._record.write(b"")
        await self._record.settled()

    async def leave(self) -> None:
        """Leaves every worker serving, for the next daemon to take back; the record of them stays."""
        for process in self.processes():
            if process.watch is not None:
                process.watch.cancel()
            process.child.forget()
        await self._record.settled()

    # what is written down

    def remembered(self) -> dict[str, Identity]:
        """A former daemon's workers that still run; their names are not given again. Reads a file and /proc.

        A daemon that was killed may not have written down the last one: it is found by its command line.
        """
        self._former = {name: who for name, who in self._recorded().items() if identity(who.pid) == who}
        for name, who in running_workers(self._worker_socket):
            if who not in self._former.values():
                self._former.setdefault(name, who)
                self._number = max(self._number, int(name[1:]) if name[1:].isdecimal() else 0)
        return dict(self._former)

    def _recorded(self) -> dict[str, Identity]:
        try:
            known = json.loads(self._record.read(1 << 20))
            if known["boot"] != _boot_id():
                return {}
            them = {str(w["name"]): Identity(int(w["pid"]), int(w["started_ticks"])) for w in known["workers"]}
            self._number = max(self._number, int(known["number"]))
        except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
            return {}
        return them

    def _write_down(self, *, make_directory: bool = False) -> None:
        workers = [
            {"name": h.name, "pid": h.identity.pid, "started_ticks": h.identity.started_ticks}
            for h in self.processes()
            if h.identity
        ]
        former = [{"name": n, "pid": w.pid, "started_ticks": w.started_ticks} for n, w in self._former.items()]
        try:
            content = {"boot": _boot_id(), "number": self._number, "workers": workers + former}
        except OSError as e:
            self._log.warning("cannot write down who the workers are", because=str(e))
            return
        self._record.write(json.dumps(content).encode(), make_directory=make_directory)

    def written_down(self) -> bool:
        """Checks whether the record of the workers can still be read, for the next `step`; not on the event loop."""
        return self._record.look()

    def _next_name(self) -> str:
        self._number += 1
        return f"w{self._number}"

    def _members(self) -> tuple[Member, ...]:
        return tuple(
            Member(h.name, h.phase, h.since, h.heard, h.outdated, h.doubted, bool(h.killed), self._spared(h))
            for h in self._processes.values()
        )

    def _spared(self, process: WorkerProcess) -> bool:
        """Whether an overdue worker only waits for its turn: it loads, or it would answer and gets no processor."""
        if process.doubted is None or process.seen is None or process.killed:
            return False
        now = self._read(process.child.pid)
        if now is None:
            return False
        if process.phase is Phase.STARTING:
            return moved(process.seen, now) and now.cpu_seconds < self.limits.start_seconds
        return process.phase is Phase.READY and starved(process.seen, now)


def _sentence(status: int | None) -> str:
    if status is None:
        return "it ended"
    if status < 0:
        try:
            return f"died of {signal.Signals(-status).name}"
        except ValueError:
            return f"died of signal {-status}"
    return f"exit status {status}"


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
