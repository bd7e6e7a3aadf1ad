"""Counts jobs that outlived every limit: nothing in this process can end them, only its own end.

It must not touch the jobs. `noticed` is called when one becomes overdue. Invariant: a job that ended is not counted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Overdue:
    """The jobs of one kind. All methods belong to the event loop. `limit_seconds` from its start; 0: no limit."""

    def __init__(self, limit_seconds: float, noticed: Callable[[], None]) -> None:
        self._limit_seconds, self._noticed = limit_seconds, noticed
        self._jobs: set[object] = set()

    @property
    def count(self) -> int:
        """How many are overdue now."""
        return len(self._jobs)

    def limit(self, limit_seconds: float) -> None:
        """Sets another limit, for jobs that start from now on."""
        self._limit_seconds = limit_seconds

    def begun(self) -> Callable[[], None]:
        """Records that a job started; the returned function must be called at its end."""
        if not self._limit_seconds:
            return _nothing
        job = object()
        timer = asyncio.get_running_loop().call_later(self._limit_seconds, self._late, job)

        def ended() -> None:
            timer.cancel()
            self._jobs.discard(job)

        return ended

    def _late(self, job: object) -> None:
        self._jobs.add(job)
        self._noticed()


def _nothing() -> None:
    pass
