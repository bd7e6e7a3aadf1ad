"""Decides which workers of a former daemon still run, and how long this daemon waits for them. Pure.

The caller checks whether a process still runs. Invariant: a worker that has not joined by the deadline is named once;
after that the daemon waits for none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .peer import WorkerPeer
from .replacement import LOST_SECONDS, lost


class FormerWorkers:
    """The workers in `names` outlived their daemon; `began` is when this daemon started, monotonic seconds."""

    def __init__(self, names: Iterable[str], began: float) -> None:
        self._names = set(names)
        self._until = began + LOST_SECONDS

    @property
    def deadline(self) -> float | None:
        """When those that have not joined count as lost; None when the daemon waits for none."""
        return self._until if self._names else None

    def in_time(self, now: float) -> bool:
        """Whether the daemon still waits for them."""
        return bool(self._names) and now <= self._until

    def overdue(self, peers: Iterable[WorkerPeer], now: float) -> Iterator[tuple[str, str]]:
        """Name and reason of each worker that did not join; once, after the deadline."""
        if self._names and now > self._until:
            names, self._names = self._names, set()
            yield from lost(names, peers)
