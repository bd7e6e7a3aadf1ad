"""The worker processes: starts, replaces and retires them as `pool_planner` orders, and notices their end.

It handles processes, not versions: a worker learns over its socket what to load. `workers.json` (see pool_record)
records which processes are our workers, so that a daemon that starts again recognises them. Invariant: a pid alone
proves nothing.
"""

from __future__ import annotations

import asyncio
import json
import random
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

import msgspec
import structlog
from msgspec import Struct

from ...worker.protocol import WorkerSettings
from ...worker.settings import STANDARD_OUTPUT, Terms
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
    Kill,
    Member,
    Order,
    PendingStart,
    Phase,
    PoolLimits,
    Recheck,
    Retire,
    Start,
    next_check,
    orders,
    places,
)
from .pool_record import PoolRecord
from .running_workers import running_workers

NEVER_BOOTS = 3
"""The exit status of a worker that cannot start before something changes."""
KILLED_SECONDS = 2.0
"""How long the end waits for workers that were killed: a process that hangs in the kernel does not end."""
ABORT_SECONDS = 5.0
"""The time between SIGABRT, which makes a hung worker write its stack, and SIGKILL."""


class Ended(Struct, frozen=True):
    """A worker process has ended. `status` as ChildProcess.wait gives it. `retired`: the daemon had asked it to leave,
    for the reason `because`.
    """

    name: str
    pid: int
    status: int | None
    retired: bool
    because: str


class WorkerProcess(Struct):
    """One worker process in the pool. `terms` are the settings that it runs with, None when they are not known."""

    name: str
    child: ChildProcess
    identity: Identity | None
    failures: int
    phase: Phase
    since: float
    heard: float
    outdated: str = ""
    overdue_since: float | None = None
    seen: ProcessReading | None = None
    killed: str = ""
    terms: Terms | None = None
    ready_at: float | None = None
    watch: asyncio.Task[None] | None = None


def command_line(settings: WorkerSettings) -> list[str]:
    """The command that starts a worker."""
    return python("modelward.worker", "--settings", msgspec.json.encode(settings).decode())


class WorkerPool:
    """See the module. `ended` is called when a process is gone, `drain` to ask a worker over its socket to leave, after
    so many seconds of notice.

    `settings` gives the settings of a new worker with that name, and the listening socket. `command` makes its command
    line. `chance` spreads the back-off. `read` returns what a process has done so far. Invariant: the pool is in charge
    from its first `step` on. A daemon that fails before that leaves a former daemon's workers alone; one that is
    stopped before that ends them too.
    """

    def __init__(
        self,
        *,
        runtime_dir: Path,
        clock: Clock,
        ended: Callable[[Ended], None],
        drain: Callable[[str, float], bool],
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
        self._pending_starts: tuple[PendingStart, ...] = ()
        self._number = 0
        self._in_charge = False
        self.wanted = 0
        self.limits = PoolLimits()

    def process(self, name: str) -> WorkerProcess | None:
        return self._processes.get(name)

    def processes(self) -> tuple[WorkerProcess, ...]:
        return tuple(self._processes.values())

    def pending_starts(self) -> tuple[PendingStart, ...]:
        return self._pending_starts

    def next_check(self) -> float | None:
        return next_check(self._members(), self._pending_starts, self.limits)

    # what other parts report

    def record_message(self, name: str, *, ready: bool, terms: Terms | None = None) -> None:
        """Records a message of the worker. `ready`: it can answer requests, or has nothing to load. `terms`: it runs
        with them.
        """
        if process := self._processes.get(name):
            process.terms = terms or process.terms
            process.heard = self._clock.monotonic()
            if ready and process.phase is Phase.STARTING:
                process.phase, process.since, process.ready_at = Phase.READY, process.heard, process.heard
            if process.phase is Phase.READY:
                process.overdue_since = None

    def replace(self, name: str, because: str) -> bool:
        """Asks for the worker to be replaced, its successor first. False when there is none of that name."""
        process = self._processes.get(name)
        if process is None or process.phase is Phase.RETIRING:
            return False
        process.outdated = process.outdated or because
        return True

    def unblock(self) -> None:
        """Lets every start that waits be tried at once, because something changed."""
        now = self._clock.monotonic()
        self._pending_starts = tuple(PendingStart(0, now) for _ in self._pending_starts)

    # actions

    def step(self) -> None:
        """Carries out the current orders of `pool_planner`. The first step takes a former daemon's workers back."""
        if self._processes and not self._record.there:  # the runtime directory was emptied or removed
            self._write_down(make_directory=True)
        self._take_charge()
        members, now = self._members(), self._clock.monotonic()
        self._pending_starts, _ = places(members, self._pending_starts, self.wanted)
        for order in orders(members, self._pending_starts, self.wanted, now, self.limits):
            self._carry_out(order)

    def _take_charge(self) -> None:
        if not self._in_charge:
            self._in_charge = True
            for name, who in tuple(self._former.items()):
                self.take_back(name, who)

    def _carry_out(self, order: Order) -> None:
        match order:
            case Start():
                self._start(order)
            case Retire():
                self.retire(order.name, order.because)
            case Recheck():
                process = self._processes[order.name]
                process.overdue_since, process.seen = self._clock.monotonic(), self._read(process.child.pid)
            case Kill():
                self.kill(order.name, order.because)

    def _start(self, order: Start) -> None:
        failures = 0
        if order.pending is not None:
            i = self._pending_starts.index(order.pending)
            self._pending_starts = self._pending_starts[:i] + self._pending_starts[i + 1 :]
            failures = order.pending.failures
        name = self._next_name()
        settings, listen_fd = self._settings(name)
        try:
            stdout: Literal["ours"] | None = "ours" if settings.log_dir == STANDARD_OUTPUT else None
            child = spawn(self._command(settings), name=name, pass_fds=(listen_fd,), stdout=stdout)
        except OSError as e:
            self._log.error("cannot start a worker", worker=name, because=str(e))
            self._vacate(failures + 1)
            return
        self._take(name, child, failures, settings.terms())
        self._log.info("worker started", worker=name, pid=child.pid, because=order.because)

    def take_back(self, name: str, who: Identity) -> bool:
        """Takes a worker of a former daemon into the pool. False when the process is another one by now."""
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
                self._pending_starts += (PendingStart(process.failures, now, "it can never boot (exit status 3)"),)
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
        self._pending_starts += (PendingStart(failures, self._clock.monotonic() + delay),)

    def retire(self, name: str, because: str, notice_seconds: float = 0.0) -> None:
        """Asks a worker to finish its work and leave. It is killed when it takes too long."""
        process = self._processes.get(name)
        if process is None or process.phase is Phase.RETIRING:
            return
        process.phase, process.since, process.overdue_since = Phase.RETIRING, self._clock.monotonic(), None
        self._log.info("worker retires", worker=name, because=because)
        if not self._drain(name, notice_seconds):
            process.child.signal(signal.SIGTERM)

    def kill(self, name: str, because: str) -> None:
        """Ends a worker that does not answer: first it writes its stack, then its group is killed."""
        process = self._processes.get(name)
        if process is None or process.killed:
            return
        process.killed = because
        self._log.warning("worker killed", worker=name, pid=process.child.pid, because=because)
        process.child.signal(signal.SIGABRT)
        asyncio.get_running_loop().call_later(ABORT_SECONDS, process.child.kill_group)

    async def end_lost(self) -> None:
        """Kills those of a former daemon's workers that did not join. Returns when they are gone."""
        lost = [name for name, who in tuple(self._former.items()) if self.take_back(name, who)]
        for name in lost:
            self.kill(name, "it did not come back, and the address that clients connect to is in use")
        if watches := [process.watch for process in self.processes() if process.name in lost and process.watch]:
            await asyncio.wait(watches, timeout=ABORT_SECONDS + 1.0)

    async def close(self, drain_seconds: float, notice_seconds: float = 0.0) -> None:
        """Retires every worker, after a notice, and waits. Workers that are left after `drain_seconds` are killed."""
        if not self._in_charge:
            await asyncio.to_thread(self.remembered)  # those of a former daemon
            self._take_charge()
        self.wanted = 0
        for process in self.processes():
            self.retire(process.name, "the daemon stops", notice_seconds)
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
        """Leaves every worker running, for the next daemon to take back. The record of them stays."""
        for process in self.processes():
            if process.watch is not None:
                process.watch.cancel()
            process.child.forget()
        await self._record.settled()

    # the record

    def remembered(self) -> dict[str, Identity]:
        """A former daemon's workers that still run. Their names are not given again. Reads a file and /proc.

        A daemon that was killed may not have recorded its last worker. That one is found by its command line.
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
            self._log.warning("cannot record the worker processes", because=str(e))
            return
        self._record.write(json.dumps(content).encode(), make_directory=make_directory)

    def written_down(self) -> bool:
        """Checks whether the record of the workers can still be read, for the next `step`. Not on the event loop."""
        return self._record.check()

    def _next_name(self) -> str:
        self._number += 1
        return f"w{self._number}"

    def _members(self) -> tuple[Member, ...]:
        return tuple(
            Member(h.name, h.phase, h.since, h.heard, h.outdated, h.overdue_since, bool(h.killed), self._spared(h))
            for h in self._processes.values()
        )

    def _spared(self, process: WorkerProcess) -> bool:
        """Whether an overdue worker only waits: it loads, or it would answer but gets no processor."""
        if process.overdue_since is None or process.seen is None or process.killed:
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
