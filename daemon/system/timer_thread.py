"""Runs work periodically on a thread of its own, for work that mostly finds nothing to do.

The event loop sleeps meanwhile; the work wakes it when there is something to do. Each timer fires at multiples of its
period plus an offset of its own, because two threads that wake at the same time would contend for the interpreter's
lock.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final

from ...worker.shared.started import Thread, start_thread
from .background import here
from .clock import Clock

STOP_SECONDS: Final = 2.0
LEAST_SECONDS: Final = 0.01


class TimerThread:
    """`period` gives the seconds before each wait; `later` is the offset of this timer.

    Work that fails is recorded as a failure of `name`, and runs again next time. To be started on the event loop.
    """

    def __init__(
        self, name: str, work: Callable[[], None], period: Callable[[], float], clock: Clock, *, later: float = 0.0
    ) -> None:
        self._name, self._work, self._period, self._clock, self._later = name, work, period, clock, later
        self._nudge = threading.Lock()  # waiting for it is one call; for an event it is three functions and a new lock
        self._nudge.acquire()
        self._over = False
        self._thread: Thread | None = None

    def start(self, *, at_once: bool = False) -> None:
        """Runs the work from now on; the first time `at_once`, or at the next multiple of the period."""
        self._background = here()
        self._thread = start_thread(self._name, partial(self._run, at_once))

    def again(self) -> None:
        """Uses a new period at once, without waiting for the end of the current one."""
        with suppress(RuntimeError):  # woken already
            self._nudge.release()

    def stop(self) -> None:
        """Starts no further work. Waits a moment for the current work, but no longer: it may hang in the kernel."""
        self._over = True
        self.again()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(STOP_SECONDS)

    def _run(self, at_once: bool) -> None:
        if at_once:
            self._strike()
        while not self._over:
            nudged = self._nudge.acquire(timeout=until_next(self._clock.monotonic() - self._later, self._period()))
            if not nudged and not self._over:
                self._strike()

    def _strike(self) -> None:
        self._background.call(self._name, self._work, None)


def until_next(now: float, period: float) -> float:
    """Seconds from `now` to the next multiple of `period`."""
    return max(LEAST_SECONDS, period - now % period)
