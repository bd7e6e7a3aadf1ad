"""Reads how much time each loading worker has used, so that a worker that is held up from outside is not blamed.

It decides nothing. Invariant: processes are read on a thread, each at most once in READ_SECONDS.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

from msgspec.structs import replace

from ...worker.shared.progress import ProcessReading, Spent, after, begin, outside
from ..system.clock import Clock
from .peer import WorkerPeer
from .rollout_planner import Stage, WorkerView

READ_SECONDS: Final = 1.0
"""The time between two readings of a worker that loads."""
LONGEST_STEP_SECONDS: Final = 3.0


class LoadReadings:
    """`current` are the readings of the workers that load now, by name, each with the start of that load.

    `read` returns what a process has done so far. When it returns None, nothing is known of that process.
    """

    def __init__(self, clock: Clock, read: Callable[[int], ProcessReading | None]) -> None:
        self._clock, self._read = clock, read
        self.current: dict[str, tuple[float, Spent]] = {}

    async def take(self, peers: Iterable[WorkerPeer]) -> None:
        """Reads what the loading ones of these workers did since the last reading."""
        loading = {
            peer.name: peer
            for peer in peers
            if not peer.attached and (peer.loading or peer.stage in (Stage.PREPARING, Stage.COMMITTING))
        }
        known = {name: self.current[name] for name in loading if name in self.current}
        known = {name: pair for name, pair in known.items() if pair[0] == loading[name].stage_since}
        now = self._clock.monotonic()
        due = {
            name: peer.pid
            for name, peer in loading.items()
            if name not in known or now - known[name][1].last.at >= READ_SECONDS
        }
        if due:
            readings = await asyncio.to_thread(lambda: {name: self._read(pid) for name, pid in due.items()})
            for name, reading in readings.items():
                if reading is None:
                    known.pop(name, None)
                    continue
                spent = known[name][1] if name in known else begin(reading)
                known[name] = loading[name].stage_since, after(spent, reading, LONGEST_STEP_SECONDS)
        self.current = known

    def with_spent(self, worker: WorkerView, now: float) -> WorkerView:
        """The view with the time that it used; at most the time that passed, as threads use several times as much."""
        if worker.name not in self.current:
            return worker
        spent = self.current[worker.name][1]
        held = outside(spent.last) if spent.still_seconds >= spent.cpu_seconds else ""
        return replace(worker, spent_seconds=min(now - worker.since, spent.seconds), held=held)
