from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from modelward.worker.protocol import RunTimes
from modelward.worker.stats import (
    WINDOW,
    WINDOW_SECONDS,
    Counters,
    quantile,
)


class Hands:
    """A clock moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def counters(clock: Hands) -> Counters:
    async def make() -> Counters:
        return Counters(clock)

    return asyncio.run(make())


@given(st.lists(st.floats(0, 100), min_size=1, max_size=60), st.floats(0.01, 1))
def test_a_quantile_is_a_value_that_enough_do_not_exceed(values: list[float], share: float) -> None:
    at = quantile(values, share)
    assert at in values
    assert sum(v <= at for v in values) >= share * len(values) - 1e-9
    assert sum(v < at for v in values) < share * len(values) + 1e-9


def test_nothing_asked_is_no_time() -> None:
    assert quantile([], 0.95) == 0.0


def test_durations_are_those_of_the_last_minute_and_of_this_version() -> None:
    clock = Hands()
    numbers = counters(clock)
    for seconds in (9.0, 9.0):
        numbers.begin()
        numbers.end(200, seconds)
    assert numbers.beat().p95_seconds == 9.0
    clock.now += WINDOW_SECONDS + 1
    assert numbers.beat().p95_seconds == 0.0
    for _ in range(2 * WINDOW):
        numbers.begin()
        numbers.end(200, 1.0)
    assert numbers.beat().p95_seconds == 1.0
    numbers.swapped()
    beat = numbers.beat()
    assert (beat.p95_seconds, beat.requests, beat.inflight) == (0.0, 2 * WINDOW + 2, 0)


def test_runs_that_had_the_machine_to_themselves_are_told_apart() -> None:
    clock = Hands()
    numbers = counters(clock)
    for took in (0.1, 0.2, 0.3):
        numbers.ran(waited=0.05, took=took, lone=False)
    numbers.ran(waited=0.0, took=0.04, lone=True)
    assert (numbers.beat().shared, numbers.beat().lone) == (RunTimes(3, 0.3), RunTimes(1, 0.04))
    clock.now += WINDOW_SECONDS + 1
    numbers.ran(waited=0.0, took=0.5, lone=True)
    assert (numbers.beat().shared, numbers.beat().lone) == (RunTimes(), RunTimes(1, 0.5))
    numbers.swapped()
    assert numbers.beat().lone == RunTimes()


def test_only_answers_of_500_and_above_are_errors() -> None:
    numbers = counters(Hands())
    for status in (200, 400, 413, 499, 500, 503, 504):
        numbers.begin()
        numbers.end(status, None)
    assert (numbers.beat().errors, numbers.beat().requests) == (3, 7)
