"""Pauses that long work makes between its steps while other work wants the processor.

A lower priority is not enough: where the kernel groups threads by session, it counts only within one session. It must
not be used on the event loop. Invariant: alone, it never pauses.
"""

from __future__ import annotations

import threading
import time
from typing import Final

MOST_PAUSE_SECONDS: Final = 0.05
STEP_SECONDS: Final = 0.004
_never: Final = threading.Event()


def pause_seconds(seconds: float, cpu_seconds: float) -> float:
    """How long to wait after a step that took `seconds`, with `cpu_seconds` of processor time. Pure.

    During the rest other threads had the processor: they get it for about as long as the step took.
    """
    return min(MOST_PAUSE_SECONDS, seconds) if seconds > 1.5 * cpu_seconds + 0.001 else 0.0


class Pauses:
    """To be called by the working thread, as often as it likes."""

    def __init__(self) -> None:
        self._began = 0.0
        self._cpu_began = 0.0

    def __call__(self) -> None:
        """Waits at the end of a step if other threads wanted the processor meanwhile."""
        now = time.monotonic()
        if not self._began:
            self._began, self._cpu_began = now, time.thread_time()
        if now - self._began < STEP_SECONDS:
            return
        if pause := pause_seconds(now - self._began, time.thread_time() - self._cpu_began):
            _never.wait(pause)
        self._began, self._cpu_began = time.monotonic(), time.thread_time()
