"""Pauses that long work makes between its steps while others want the processor.

A lower priority is not enough: it counts among the threads of one session only where the kernel groups them by session.
Must not be used on the event loop. Invariant: alone, it never pauses.
"""

from __future__ import annotations

import threading
import time
from typing import Final

MOST_PAUSE_SECONDS: Final = 0.05
STEP_SECONDS: Final = 0.004
_never: Final = threading.Event()


def pause_seconds(seconds: float, cpu_seconds: float) -> float:
    """How long to wait after a step that took `seconds`, `cpu_seconds` of them at work. Pure.

    Others wanted the processor for the rest of them: they are to have it for about as long as the step took.
    """
    return min(MOST_PAUSE_SECONDS, seconds) if seconds > 1.5 * cpu_seconds + 0.001 else 0.0


class Pauses:
    """To be called by the thread that works, as often as it likes."""

    def __init__(self) -> None:
        self._began = 0.0
        self._cpu_began = 0.0

    def __call__(self) -> None:
        """Waits where a step is over and others wanted the processor meanwhile."""
        now = time.monotonic()
        if not self._began:
            self._began, self._cpu_began = now, time.thread_time()
        if now - self._began < STEP_SECONDS:
            return
        if pause := pause_seconds(now - self._began, time.thread_time() - self._cpu_began):
            _never.wait(pause)
        self._began, self._cpu_began = time.monotonic(), time.thread_time()
