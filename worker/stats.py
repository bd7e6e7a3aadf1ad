"""The figures that a worker reports: requests in work, answered, failed, how long they took, memory.

It counts only answers to inference, so that a probe of /health never looks like a failing model. Its windows of
durations are bounded and begin anew with each swap: the daemon compares versions by them.
"""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable
from math import ceil
from typing import Final

from .protocol import BUCKETS_SECONDS, Beat, Durations, RunTimes
from .resident_memory import Resident

WINDOW: Final = 512
WINDOW_SECONDS: Final = 60.0
WAIT_BUCKETS_SECONDS: Final = (0.001, 0.0025, *BUCKETS_SECONDS)

Window = deque[tuple[float, float]]  # when it ended, seconds it took


class Histogram:
    """Durations by length: `buckets` counts those up to each of `bounds`; the last one those above all."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.buckets = [0] * (len(bounds) + 1)
        self.seconds = 0.0

    def add(self, seconds: float) -> None:
        """Adds one duration."""
        self.buckets[bisect_left(self.bounds, seconds)] += 1
        self.seconds += seconds


class Counters:
    """The figures of the beats. `requests` and `errors` only grow; `errors` counts answers of 500 and above.

    For /metrics: `answers` by class, `audio_seconds`, `jobs` that ended here by state, and two histograms. They are of
    the answers that a model worked on, and of the times that ready work waited for the model. They outlive a swap.
    Called for each beat: `refusing` returns why a request would not be answered, "" while one would be; `stuck` returns
    how many jobs do not end.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic, resident: Resident | None = None) -> None:
        self.resident = resident or Resident()
        self.inflight = 0
        self.requests = 0
        self.errors = 0
        self.changed = asyncio.Event()
        self.refusing: Callable[[], str] = lambda: ""
        self.stuck: Callable[[], int] = lambda: 0
        self._monotonic = monotonic
        self._durations, self._shared, self._lone = (_window() for _ in range(3))
        self.answers = {"2xx": 0, "4xx": 0, "5xx": 0}
        self.audio_seconds = 0.0
        self.jobs: Counter[str] = Counter()
        self.work = Histogram(BUCKETS_SECONDS)
        self.waits = Histogram(WAIT_BUCKETS_SECONDS)

    def begin(self) -> None:
        """A request for inference came in."""
        self.inflight += 1
        self.changed.set()

    def end(self, status: int, seconds: float | None) -> None:
        """It was answered. `seconds` is the time from its last byte to its answer; None when no model worked on it."""
        self.inflight -= 1
        self.requests += 1
        self.errors += status >= 500
        self.answers["5xx" if status >= 500 else "4xx" if status >= 400 else "2xx"] += 1
        if seconds is not None:
            self.work.add(seconds)
        if seconds is not None and status < 500:
            self._durations.append((self._monotonic(), seconds))
        self.changed.set()

    def ran(self, *, waited: float, took: float, lone: bool) -> None:
        """The model ran: seconds it waited for its turn, and until its end; `lone`: it had the machine alone."""
        self.waits.add(waited)
        (self._lone if lone else self._shared).append((self._monotonic(), took))

    def recognised(self, audio_seconds: float) -> None:
        """This much audio was turned into text."""
        self.audio_seconds += audio_seconds

    def swapped(self) -> None:
        """Another version answers from now on: durations of the old one are dropped."""
        for window in (self._durations, self._shared, self._lone):
            window.clear()
        self.changed.set()

    def beat(self) -> Beat:
        """The current figures; clears `changed`."""
        self.changed.clear()
        return Beat(
            inflight=self.inflight,
            requests=self.requests,
            errors=self.errors,
            p95_seconds=self._pace(self._durations).p95_seconds,
            rss_bytes=self.resident.bytes(),
            shared=self._pace(self._shared),
            lone=self._pace(self._lone),
            refusing=self.refusing(),
            stuck=self.stuck(),
            durations=Durations(list(self.work.buckets), round(self.work.seconds, 6)),
        )

    def _pace(self, window: Window) -> RunTimes:
        recent = [seconds for at, seconds in window if self._monotonic() - at <= WINDOW_SECONDS]
        return RunTimes(len(recent), round(quantile(recent, 0.95), 6))


def _window() -> Window:
    return deque(maxlen=WINDOW)


def quantile(values: list[float], share: float) -> float:
    """The smallest value that at least `share` of the values do not exceed; 0 for none (nearest rank)."""
    return sorted(values)[max(0, ceil(share * len(values)) - 1)] if values else 0.0
