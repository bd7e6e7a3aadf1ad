"""A pool without a socket, stepped by hand: its workers are a few lines of code each, its clock stands still."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.children import program
from tests.daemon.workers.room import Room
from tests.fakes.clock import FakeClock
from tests.support import PATIENCE_SECONDS, soon

from modelward.daemon.workers.pool_planner import PoolLimits
from modelward.worker.protocol import WorkerSettings

LIMITS = PoolLimits(start_seconds=60, drain_seconds=30, silence_seconds=40, recheck_seconds=2)


class Shop(Room):
    """A pool without a socket, whose workers are whatever `code` says; stepped by hand."""

    def __init__(self, path: Path, code: str, clock: FakeClock | None = None) -> None:
        self.code, self.time = code, clock or FakeClock()
        super().__init__(path, clock=self.time, command=self.misbehave)
        self.pool.wanted, self.pool.limits = 1, LIMITS

    def misbehave(self, settings: WorkerSettings) -> list[str]:
        return program(self.code, str(self.path / settings.name))

    async def all_ended(self, count: int) -> None:
        await soon(lambda: len(self.ended) == count)

    def names(self) -> list[str]:
        return [process.name for process in self.pool.processes()]


def run(path: Path, code: str, work: Callable[[Shop], Awaitable[None]]) -> None:
    async def whole() -> None:
        shop = Shop(path, code)
        try:
            await work(shop)
        finally:
            for process in shop.pool.processes():
                process.child.kill_group()
            await shop.pool.close(0.0)

    asyncio.run(asyncio.wait_for(whole(), PATIENCE_SECONDS))
