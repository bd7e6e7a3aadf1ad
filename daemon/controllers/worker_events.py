"""Passes on the workers' reports and the ends of their processes: to the parts, the history and the
viewers.

It decides nothing. Invariant: a part that raises keeps no other part from its event.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import structlog

from ..answers.events import WorkerNews
from ..api.events import Hub
from ..health.stuck_workers import StuckWorkers
from ..state.async_store import AsyncStore
from ..workers.peer import WorkerEvent
from ..workers.pool import Ended
from .maintenance import Maintenance


class WorkerEvents:
    """`on_end` are called for each process that ended, and raise nothing; `wake` begins a round."""

    def __init__(
        self,
        *,
        on_end: Iterable[Callable[[Ended], object]],
        stuck: StuckWorkers,
        maintenance: Maintenance,
        async_store: AsyncStore,
        hub: Hub,
        wake: Callable[[], None],
    ) -> None:
        self._on_end, self._stuck, self._maintenance = tuple(on_end), stuck, maintenance
        self._async_store, self._hub, self._wake = async_store, hub, wake
        self._log = structlog.get_logger("supervisor")

    def ended(self, ended: Ended) -> None:
        """A worker process is gone."""
        for on_end in self._on_end:
            on_end(ended)
        if not ended.retired:
            because = f"{ended.name}: {ended.because}"
            self._async_store.note("worker-ended", "", because, worker=ended.name, pid=ended.pid)
        self._wake()

    def happened(self, event: WorkerEvent) -> None:
        """A worker reported something, joined or left."""
        if event.kind == "reopened":
            self._maintenance.reopened(event.worker)
        if event.kind == "stuck":
            self._stuck.add(event.worker, event.because)
        if event.kind == "refused":
            self._log.warning("version refused", worker=event.worker, version=event.version, because=event.because)
        self._hub.tell("worker", WorkerNews(event.worker, event.kind, event.version))
        self._wake()
