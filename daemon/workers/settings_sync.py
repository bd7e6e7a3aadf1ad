"""Whether the workers run with what the configuration says; sends the settings and waits until they do.

It replaces no worker (see `replacement`). Invariant: what is called confirmed holds for every process of ours that may
still answer a request, also one that is leaving or has not joined yet.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ...worker.settings import Terms
from ..answers.status import PendingKey
from ..system.clock import Clock
from . import settings_diff
from .pool import WorkerPool
from .registry import WorkerRegistry
from .settings_diff import Running

LOOK_SECONDS: Final = 1.0
"""A process that ends before it has joined is noticed so soon."""


class SettingsSync:
    """`wanted` gives what the workers are to run with."""

    def __init__(self, registry: WorkerRegistry, pool: WorkerPool, clock: Clock, wanted: Callable[[], Terms]) -> None:
        self._registry, self._pool, self._clock, self._wanted = registry, pool, clock, wanted

    def unconfirmed(self) -> list[str]:
        """The workers that may still answer by a former value of what a running worker takes up."""
        return list(settings_diff.unconfirmed(self._running(), self._wanted()))

    def pending(self) -> list[PendingKey]:
        """The keys that do not hold in every worker yet; see terms.pending."""
        return settings_diff.pending(self._running(), self._wanted())

    async def reached(self, seconds: float) -> list[str]:
        """Sends the settings and waits until all have confirmed them; those that have not after `seconds`."""
        self._registry.agree()
        deadline = self._clock.monotonic() + seconds
        while (late := self.unconfirmed()) and (left := deadline - self._clock.monotonic()) > 0:
            await self._registry.changed(min(LOOK_SECONDS, left))
            self._registry.agree()
        return late

    def _running(self) -> list[Running]:
        return [Running(process.name, process.terms) for process in self._pool.processes()]
