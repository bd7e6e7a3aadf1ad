"""What is done every so often is done on the grid, on its own thread, and goes on whatever happens."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest
from tests.support import PATIENCE_SECONDS, eventually

from modelward.daemon.system.clock import SystemClock
from modelward.daemon.system.timer_thread import TimerThread, until_next


@pytest.mark.parametrize(("now", "period", "wait"), [(7.0, 5.0, 3.0), (10.0, 5.0, 5.0), (9.9999, 5.0, 0.01)])
def test_waits_until_the_next_multiple_of_the_period(now: float, period: float, wait: float) -> None:
    assert until_next(now, period) == pytest.approx(wait)


def start(timer: TimerThread, *, at_once: bool = False) -> None:
    async def begin() -> None:
        timer.start(at_once=at_once)

    asyncio.run(begin())


def of(work: Callable[[], None], seconds: float = 0.02) -> TimerThread:
    return TimerThread("test", work, lambda: seconds, SystemClock())


def test_strikes_again_after_a_failure_and_not_after_the_end() -> None:
    struck: list[int] = []

    def work() -> None:
        struck.append(1)
        if len(struck) == 1:
            raise OSError("once")

    timer = of(work)
    start(timer)
    eventually(lambda: len(struck) >= 3)
    timer.stop()
    count = len(struck)
    assert not [thread for thread in threading.enumerate() if thread.name == "test"]
    assert len(struck) == count


def test_another_period_is_taken_up_at_once() -> None:
    struck, periods = threading.Event(), [3600.0]
    timer = TimerThread("test", struck.set, lambda: periods[0], SystemClock())
    start(timer)
    periods[0] = 0.02
    timer.again()
    assert struck.wait(PATIENCE_SECONDS)
    timer.stop()


def test_the_end_does_not_wait_for_a_strike_that_hangs() -> None:
    begun, release, hung = threading.Event(), threading.Event(), threading.Event()

    def hang() -> None:
        begun.set()
        hung.set()
        release.wait(PATIENCE_SECONDS)
        hung.clear()

    timer = of(hang)
    start(timer, at_once=True)
    assert begun.wait(PATIENCE_SECONDS)
    timer.stop()
    assert hung.is_set()
    release.set()
