"""Which workers a former daemon left behind, and how long this daemon waits for them. Pure.

The caller finds out whether a process still runs. Invariant: a worker that has not come back by the deadline is named
once; after that the daemon waits for none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .peer import WorkerPeer
from .replacement import LOST_SECONDS, lost


class FormerWorkers:
    """The workers by `names` that outlived their daemon; `began` is when this one did, monotonic seconds."""

    def __init__(self, names: Iterable[str], began: float) -> None:
        self._names = set(names)
        self._until = began + LOST_SECONDS

    @property
    def deadline(self) -> float | None:
        """When those that are not here yet count as lost; None when the daemon waits for none."""
        return self._until if self._names else None

    def in_time(self, now: float) -> bool:
        """Whether it is worth waiting for them still."""
        return bool(self._names) and now <= self._until

    def overdue(self, peers: Iterable[WorkerPeer], now: float) -> Iterator[tuple[str, str]]:
        """Name and reason of each that did not come back; once, after the deadline."""
        if self._names and now > self._until:
            names, self._names = self._names, set()
            yield from lost(names, peers)
