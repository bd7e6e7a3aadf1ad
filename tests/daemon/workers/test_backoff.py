"""How long a worker waits for its next start: ever longer, never for ever."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.daemon.workers.backoff import (
    LONGEST_SECONDS,
    SETTLED_SECONDS,
    delay_seconds,
    failures_after,
)

MIDDLE = 0.5
"""The chance that changes nothing."""


@pytest.mark.parametrize(
    ("failures", "seconds"),
    [(0, 0), (1, 1), (2, 2), (3, 4), (4, 8), (5, 16), (6, 32), (7, 60), (8, 60), (10_000, 60)],
)
def test_each_death_in_a_row_doubles_the_wait_up_to_a_minute(failures: int, seconds: float) -> None:
    assert delay_seconds(failures, MIDDLE) == pytest.approx(seconds)


@given(st.integers(1, 10**9), st.floats(0, 1, exclude_max=True))
def test_chance_moves_the_wait_by_a_fifth_at_most(failures: int, chance: float) -> None:
    usual = delay_seconds(failures, MIDDLE)
    assert 0.8 * usual <= delay_seconds(failures, chance) <= 1.2 * usual <= 1.2 * LONGEST_SECONDS


@pytest.mark.parametrize(
    ("failures", "served_seconds", "then"),
    [
        (0, 0.0, 1),
        (4, 0.0, 5),
        (4, SETTLED_SECONDS - 0.1, 5),
        (4, SETTLED_SECONDS, 0),
        (0, 3600.0, 0),
    ],
)
def test_a_worker_that_had_served_for_a_while_starts_again_at_once(
    failures: int, served_seconds: float, then: int
) -> None:
    assert failures_after(failures, served_seconds) == then


def test_a_worker_that_dies_at_once_is_started_at_most_eight_times_in_a_minute() -> None:
    now, failures, starts = 0.0, 0, 0
    while now < 60:
        starts, failures = starts + 1, failures_after(failures, 0.0)
        now += delay_seconds(failures, 0.0)
    assert starts <= 8
