"""Wakes the loop for its next round, and those that wait for the end of a round.

It decides nothing about the service. Invariant: a wake-up that comes during a round is followed by another round.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from ..system.clock import Clock


class Wakeups:
    """`began` is when the running round began, monotonic seconds; None between rounds."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._wake, self._ended = asyncio.Event(), asyncio.Event()
        self.began: float | None = None

    def wake(self) -> None:
        """The next round begins now."""
        self._wake.set()

    def begin(self) -> None:
        """A round begins."""
        self._wake.clear()
        self.began = self._clock.monotonic()

    def end(self) -> None:
        """The round ended."""
        self.began = None
        self._ended.set()
        self._ended = asyncio.Event()

    @property
    def deciding(self) -> bool:
        """Whether a round is due or runs, so that its decision is not known yet."""
        return self._wake.is_set() or self.began is not None

    async def woken(self, seconds: float) -> None:
        """Returns when `wake` was called, or after `seconds`."""
        await _within(self._wake, seconds)

    async def next_round(self, seconds: float) -> None:
        """Returns when a round ended, or after `seconds`."""
        await _within(self._ended, seconds)


async def _within(event: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
