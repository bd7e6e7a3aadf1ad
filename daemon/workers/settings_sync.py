"""Finds out whether the workers run with the configured settings, sends the settings and waits until they do.

It replaces no worker (see `replacement`). Invariant: "confirmed" holds for every process of ours that may still answer
a request, also one that is leaving or has not joined yet.
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
"""The end of a process that has not joined is noticed within this time."""


class SettingsSync:
    """`wanted` gives the settings that the workers must run with."""

    def __init__(self, registry: WorkerRegistry, pool: WorkerPool, clock: Clock, wanted: Callable[[], Terms]) -> None:
        self._registry, self._pool, self._clock, self._wanted = registry, pool, clock, wanted

    def unconfirmed(self) -> list[str]:
        """The workers that may still answer with a former value of a key that running workers take up."""
        return list(settings_diff.unconfirmed(self._running(), self._wanted()))

    def pending(self) -> list[PendingKey]:
        """The keys that do not hold in every worker yet; see settings_diff.pending."""
        return settings_diff.pending(self._running(), self._wanted())

    async def reached(self, seconds: float) -> list[str]:
        """Sends the settings and waits until all confirm them. Returns those that have not after `seconds`."""
        self._registry.agree()
        deadline = self._clock.monotonic() + seconds
        while (late := self.unconfirmed()) and (left := deadline - self._clock.monotonic()) > 0:
            await self._registry.changed(min(LOOK_SECONDS, left))
            self._registry.agree()
        return late

    def _running(self) -> list[Running]:
        return [Running(process.name, process.terms) for process in self._pool.processes()]
