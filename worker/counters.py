"""What a worker tells of itself: requests in work, answered, failed, how long they took, memory.

Counts answers to inference only, so that a probe of /health never looks like a failing model. Holds a bounded window of
durations that begins anew with each swap: the daemon compares versions by it.
"""

from __future__ import annotations

import asyncio
import os
import time
from bisect import bisect_left
from collections import deque
from collections.abc import Callable
from math import ceil
from pathlib import Path
from typing import Final

from .protocol import Beat

WINDOW: Final = 512
WINDOW_SECONDS: Final = 60.0
BUCKETS_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Counters:
    """Numbers of the beats. `requests` and `errors` only grow; `errors` counts answers of 500 and above.

    For /metrics: `answers` by class, `audio_seconds`, and of the answers that a model worked on how many fell into each
    of BUCKETS_SECONDS and their sum. They outlive a swap.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.inflight = 0
        self.requests = 0
        self.errors = 0
        self.changed = asyncio.Event()
        self._monotonic = monotonic
        self._durations: deque[tuple[float, float]] = deque(maxlen=WINDOW)
        self.answers = {"2xx": 0, "4xx": 0, "5xx": 0}
        self.audio_seconds = 0.0
        self.work_seconds = 0.0
        self.buckets = [0] * (len(BUCKETS_SECONDS) + 1)  # the last: longer than every bound

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
            self.buckets[bisect_left(BUCKETS_SECONDS, seconds)] += 1
            self.work_seconds += seconds
        if seconds is not None and status < 500:
            self._durations.append((self._monotonic(), seconds))
        self.changed.set()

    def heard(self, audio_seconds: float) -> None:
        """So much audio was turned into text."""
        self.audio_seconds += audio_seconds

    def swapped(self) -> None:
        """Another version answers from now on: durations of the old one are forgotten."""
        self._durations.clear()
        self.changed.set()

    def beat(self) -> Beat:
        """The numbers now; clears `changed`."""
        self.changed.clear()
        recent = [seconds for at, seconds in self._durations if self._monotonic() - at <= WINDOW_SECONDS]
        return Beat(
            inflight=self.inflight,
            requests=self.requests,
            errors=self.errors,
            p95_seconds=round(quantile(recent, 0.95), 6),
            rss_bytes=rss_bytes(),
        )


def quantile(values: list[float], share: float) -> float:
    """The smallest value that at least `share` of the values do not exceed; 0 for none (nearest rank)."""
    return sorted(values)[max(0, ceil(share * len(values)) - 1)] if values else 0.0


def rss_bytes() -> int:
    """Resident memory of this process."""
    return int(Path("/proc/self/statm").read_bytes().split()[1]) * os.sysconf("SC_PAGESIZE")
