"""Repeats one step of a controller in a task of its own, at the times that the step returns, or at once when something
changed.

It does not decide what is due: the step does. Invariants: one step runs at a time, and an exception ends that step
alone, because the task is started again after a pause.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from contextlib import suppress
from math import inf

from ..system.background import here

_STOP_SECONDS = 2.0


class RepeatedStep(ABC):
    """A controller of a round that has nothing to do in the round itself; see the module. `name` names its task."""

    name: str

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()

    @abstractmethod
    async def step(self) -> float | None:
        """Does what is due. Returns after how many seconds to check again; None: when `check` is called."""

    async def ensure(self) -> None:
        """Begins, unless it has begun. A change of the configuration is seen now."""
        if self._task is None:
            self._task = here().start(self.name, self._run, restart=True, proved_seconds=inf)
        self.check()

    def check(self) -> None:
        """Something may have changed."""
        self._changed.set()

    def next_due(self) -> float | None:
        return None

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=_STOP_SECONDS)

    def worked(self) -> None:
        """A step calls it once it did what was due: the controller counts as failing until then."""
        here().works(self.name)

    async def _run(self) -> None:
        while True:
            self._changed.clear()
            seconds = await self.step()
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._changed.wait()
