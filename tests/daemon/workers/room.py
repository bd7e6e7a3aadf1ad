"""The workers' room as the supervisor furnishes it: real sockets, real processes, the pool's steps taken as needed.

The processes are `tests/fakes/worker.py`, or whatever `command` says. Everything ends with the block.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.support import soon

from modelward.daemon.system.clock import Clock, SystemClock
from modelward.daemon.workers.channel import WorkersSocket
from modelward.daemon.workers.overlap import Way
from modelward.daemon.workers.peer import WorkerEvent
from modelward.daemon.workers.pool import Ended, WorkerPool
from modelward.daemon.workers.registry import WelcomeState, WorkerRegistry
from modelward.daemon.workers.rollout_executor import Rollout, RolloutExecutor, Target
from modelward.worker.protocol import WorkerSettings
from modelward.worker.shared.progress import ProcessReading

FAKE_WORKER = Path(__file__).parents[2] / "fakes" / "worker.py"
PendingCommand = Callable[[WorkerSettings], list[str]]


@dataclass
class Room:
    """`scripts` are the fake workers' by name ("" for all others); `welcome` is what newcomers are told; `read` says
    what a process did so far: nothing is known of it unless a test says so.
    """

    path: Path
    clock: Clock = field(default_factory=SystemClock)
    scripts: dict[str, dict[str, object]] = field(default_factory=dict)
    command: PendingCommand | None = None
    welcome: WelcomeState = field(default_factory=WelcomeState)
    events: list[WorkerEvent] = field(default_factory=list)
    ended: list[Ended] = field(default_factory=list)
    offered: list[int] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    before_link: Callable[[Rollout, bool], None] = lambda rollout, forward: None
    progress: list[str] = field(default_factory=list)
    way: tuple[Way, str] = (Way.BESIDE, "")
    read: Callable[[int], ProcessReading | None] = lambda pid: None

    def __post_init__(self) -> None:
        self.registry = WorkerRegistry(
            clock=self.clock, welcome=lambda: self.welcome, happened=self._happened, offered=self.offered.append
        )
        self.pool = WorkerPool(
            runtime_dir=self.path,
            clock=self.clock,
            ended=self._ended,
            drain=self.registry.drain,
            settings=lambda name: (self.settings(name), 2),
            chance=lambda: 0.5,
            command=self.command or self.fake,
            read=lambda pid: self.read(pid),
        )
        self.registry.pool = self.pool
        self.channel = WorkersSocket(self.socket, self.registry, lambda who: True)
        self.executor = RolloutExecutor(
            self.registry,
            self.clock,
            commit_point=self._commit_point,
            progress=lambda rollout: self.progress.append(rollout.state),
            room=lambda target: self.way,
            read=lambda pid: self.read(pid),
        )
        self.wake = asyncio.Event()

    @property
    def socket(self) -> Path:
        return self.path / "workers.sock"

    def settings(self, name: str) -> WorkerSettings:
        return WorkerSettings(name=name, worker_socket=str(self.socket), api_socket="", listen_fd=2)

    def fake(self, settings: WorkerSettings) -> list[str]:
        """The command line of a fake worker under its script."""
        script = self.scripts.get(settings.name, self.scripts.get("", {}))
        return [sys.executable, "-I", "-S", str(FAKE_WORKER), settings.worker_socket, settings.name, json.dumps(script)]

    def _happened(self, event: WorkerEvent) -> None:
        self.events.append(event)
        self.wake.set()

    def _ended(self, ended: Ended) -> None:
        self.ended.append(ended)
        self.executor.worker_ended(ended)
        self.registry.ended(ended)
        self.wake.set()

    async def _commit_point(self, rollout: Rollout, forward: bool) -> None:
        target = rollout.target if forward else rollout.old
        assert target is not None
        self.before_link(rollout, forward)
        await asyncio.sleep(0)
        self.links.append(target.version)
        self.welcome = WelcomeState(target.version, target.artifact, 0.5)

    async def staff(self) -> None:
        """What the supervisor's rounds do for the pool."""
        while True:
            self.wake.clear()
            self.pool.step()
            due = self.pool.next_check()
            wait = 5.0 if due is None else max(0.02, due - self.clock.monotonic())
            with suppress(TimeoutError):
                async with asyncio.timeout(min(wait, 5.0)):
                    await self.wake.wait()

    # what a test asks

    def serving(self) -> dict[str, str]:
        return {peer.name: peer.serving for peer in self.registry.peers()}

    async def all_serve(self, version: str, count: int) -> None:
        await soon(lambda: list(self.serving().values()) == [version] * count)

    def pid(self, name: str) -> int:
        process = self.pool.process(name)
        assert process is not None
        return process.child.pid

    def rollout(self, version: str, old: str = "v1", **more: object) -> Rollout:
        was = target(old) if old else None
        now = self.clock.monotonic()
        return Rollout("r1", target(version), "command", "asked for", was, now, "now", **more)  # type: ignore[arg-type]


def target(version: str) -> Target:
    return Target(version, f"digest of {version}", f"/artifacts/{version}")


def welcome(version: str) -> WelcomeState:
    return WelcomeState(version, target(version).artifact, 0.5)


@asynccontextmanager
async def room(
    path: Path,
    *,
    wanted: int = 0,
    scripts: dict[str, dict[str, object]] | None = None,
    serve: str = "",
    command: PendingCommand | None = None,
) -> AsyncIterator[Room]:
    """A room whose pool is staffed until the block ends; `serve` is the version that `wanted` workers begin with."""
    found = Room(path, scripts=scripts or {}, command=command)
    if serve:
        found.welcome = welcome(serve)
    await found.channel.open()
    staffing = asyncio.get_running_loop().create_task(found.staff())
    try:
        found.pool.wanted = wanted
        found.wake.set()
        if wanted and serve:
            await found.all_serve(serve, wanted)
        yield found
        if staffing.done():
            staffing.result()
    finally:
        staffing.cancel()
        with suppress(asyncio.CancelledError):
            await staffing
        await found.pool.close(2.0)
        await found.channel.close()
        for fd in found.offered:
            os.close(fd)
