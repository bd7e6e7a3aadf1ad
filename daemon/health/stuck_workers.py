"""Counts workers with runs of the model that did not end: a figure for an alert, which outlives the worker.

Such a worker is replaced within moments, often before an operator sees it. Pure except for the clock that it is given.
Invariant: each worker counts once, for RECENT_SECONDS after its last report.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from .alerts import Figure
from .sampler import RECENT_SECONDS

METRIC: Final = "worker_stuck"
MOST: Final = 100


class StuckWorkers:
    """`monotonic` returns the current time."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._found: dict[str, tuple[float, str]] = {}

    def add(self, worker: str, because: str) -> None:
        """Records that a worker reported such runs."""
        self._found.pop(worker, None)
        self._found[worker] = (self._monotonic(), because)
        while len(self._found) > MOST:
            del self._found[next(iter(self._found))]

    def figures(self) -> list[Figure]:
        """The number of such workers in the last minutes, and the reason that the last one gave."""
        oldest = self._monotonic() - RECENT_SECONDS
        self._found = {name: entry for name, entry in self._found.items() if entry[0] >= oldest}
        last = next(reversed(self._found.items()), None)
        because = f"{last[0]}, {last[1][1]}; it is replaced" if last else ""
        return [Figure(METRIC, float(len(self._found)), "", because)]
