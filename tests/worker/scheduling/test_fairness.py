from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.worker.scheduling import fairness

A, B, C = (fairness.mark(since * 1_000_000, number) for since, number in ((1, 7), (2, 3), (3, 5)))
MARKS = st.integers(0, 1 << 62)


@pytest.mark.parametrize(
    ("mine", "others", "passed_over", "first"),
    [
        (A, (), (), True),
        (A, (B, C), (), True),
        (B, (A, C), (), False),
        (B, (A, C), (A,), True),
        (C, (A, B), (A,), False),
        (C, (A, B), (A, B), True),
    ],
)
def test_the_one_who_waits_longest_is_first(
    mine: int, others: tuple[int, ...], passed_over: tuple[int, ...], first: bool
) -> None:
    assert fairness.is_first(mine, others, passed_over) is first


@given(st.sets(MARKS, min_size=1, max_size=8))
def test_of_all_who_wait_just_one_is_first_and_he_is_woken(marks: set[int]) -> None:
    first = [m for m in marks if fairness.is_first(m, marks - {m}, ())]
    assert first == [fairness.next_in_line(marks, ())]


@given(st.integers(0, 1 << 60), st.integers(0, 4095), st.integers(1, 1 << 40), st.integers(0, 4095))
def test_an_older_wait_has_the_smaller_mark_whoever_waits(since: int, one: int, later_us: int, other: int) -> None:
    assert fairness.mark(since, one) < fairness.mark(since + later_us * 1000, other)
    assert fairness.number_of(fairness.mark(since, one)) == one


def test_two_who_began_to_wait_at_one_moment_have_an_order() -> None:
    assert fairness.mark(5_000, 1) != fairness.mark(5_000, 2)


@pytest.mark.parametrize(
    ("others", "passed_over", "woken"), [((), (), None), ((B, A), (), A), ((B, A), (A,), B), ((A,), (A,), A)]
)
def test_who_is_passed_over_is_woken_only_when_nobody_else_waits(
    others: tuple[int, ...], passed_over: tuple[int, ...], woken: int | None
) -> None:
    assert fairness.next_in_line(others, passed_over) == woken


def test_who_leaves_a_slot_lying_twice_is_passed_over_until_he_waits_no_more() -> None:
    once = fairness.idle_ahead(C, (A, B), slot_free=True)
    assert once == {A, B}
    assert fairness.idle_ahead(C, (A, B), slot_free=False) == frozenset()
    assert fairness.idle_ahead(A, (B, C), slot_free=True) == frozenset()
    assert fairness.passed_over((), (), once, (A, B)) == frozenset()
    passed = fairness.passed_over((), once, frozenset({A}), (A, B))
    assert passed == {A}
    assert fairness.passed_over(passed, (), (), (A, B)) == {A}
    assert fairness.passed_over(passed, (), (), (B,)) == frozenset()


@pytest.mark.parametrize(
    ("before", "now", "moves"),
    [
        ((), (), False),
        ((1, 2), (1, 2), False),
        ((1, 2), (2,), True),
        ((1, 9), (1,), False),  # who stood behind gave up
        ((2,), (1, 2), False),  # who was only now seen
        ((1,), (2,), True),
    ],
)
def test_the_line_moves_when_somebody_before_us_stands_there_no_more(
    before: tuple[int, ...], now: tuple[int, ...], moves: bool
) -> None:
    assert fairness.moved_on(5, before, now) is moves


@pytest.mark.parametrize(
    ("running", "denied_seconds", "alone_already", "alone"),
    [
        (0, 0.0, False, False),
        (0, fairness.PATIENCE_SECONDS - 0.1, False, False),
        (0, fairness.PATIENCE_SECONDS, False, True),
        (1, 10 * fairness.PATIENCE_SECONDS, False, False),
        (0, 0.0, True, True),
        (1, 0.0, True, False),
    ],
)
def test_one_who_gets_no_slot_for_long_goes_on_by_himself_one_piece_at_a_time(
    running: int, denied_seconds: float, alone_already: bool, alone: bool
) -> None:
    assert fairness.goes_alone(running=running, denied_seconds=denied_seconds, alone_already=alone_already) is alone
