"""Measures how slow this machine is, compared with a usual one, by a short piece of fixed work.

CPU time is measured, so a busy machine or a quota does not count; a slow or emulated processor does. It reads nothing
that came from others. Invariant: at least 1, at most MOST.
"""

from __future__ import annotations

import time
from typing import Final

USUAL_SECONDS: Final = 0.012
"""CPU time of the work on a usual processor: 3 GHz, of the last ten years."""
MOST: Final = 50.0
TIMES: Final = 3
_COUNT: Final = 150_000


def slowness() -> float:
    """The CPU time on this machine divided by the usual one."""
    return min(MOST, max(1.0, min(_once() for _ in range(TIMES)) / USUAL_SECONDS))


def _once() -> float:
    start = time.thread_time()
    total = 0
    for number in range(_COUNT):
        total += number * number & 7
    return time.thread_time() - start
