"""Which time ages are counted from when somebody sets the clock."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from tests.daemon.upkeep.clocks import NOON, HandClock

from modelward.daemon.upkeep.trusted import Trust, look

DAY = 86400.0


def begin() -> tuple[Trust, HandClock]:
    clock = HandClock()
    return Trust.begin(clock.wall(), clock.monotonic()), clock


def test_the_wall_clock_is_believed_while_it_runs_with_the_other() -> None:
    trust, clock = begin()
    for _ in range(10):
        clock.advance(60)
        trust, now, trouble = look(trust, clock.wall(), clock.monotonic())
        assert (now, trouble) == (clock.wall(), "")


def test_a_jump_to_2099_is_refused_and_not_believed_afterwards() -> None:
    trust, clock = begin()
    clock.advance(60)
    clock.step(73 * 365 * DAY)
    trust, now, trouble = look(trust, clock.wall(), clock.monotonic())
    assert "jumped 26645d forward" in trouble
    clock.advance(60)
    trust, now, trouble = look(trust, clock.wall(), clock.monotonic())
    assert (now, trouble) == (NOON + 120, "")


def test_a_jump_back_is_refused_once_and_then_believed_for_it_makes_files_younger() -> None:
    trust, clock = begin()
    clock.step(-DAY)
    trust, now, trouble = look(trust, clock.wall(), clock.monotonic())
    assert "jumped 1d back" in trouble
    clock.advance(60)
    trust, now, trouble = look(trust, clock.wall(), clock.monotonic())
    assert (now, trouble) == (clock.wall(), "")


def test_a_jump_forward_and_back_again_ends_where_it_began() -> None:
    trust, clock = begin()
    for step in (5 * DAY, -5 * DAY):
        clock.step(step)
        trust, _, trouble = look(trust, clock.wall(), clock.monotonic())
        assert trouble
    clock.advance(60)
    assert look(trust, clock.wall(), clock.monotonic())[1:] == (clock.wall(), "")


def test_a_clock_that_stands_ahead_for_a_day_is_believed_as_after_a_suspend() -> None:
    trust, clock = begin()
    clock.step(8 * 3600)
    trust, _, _ = look(trust, clock.wall(), clock.monotonic())
    clock.advance(DAY)
    trust, now, trouble = look(trust, clock.wall(), clock.monotonic())
    assert (now, trouble) == (clock.wall(), "")


@given(st.lists(st.tuples(st.floats(0, 7200), st.floats(-1e9, 1e9)), max_size=20))
def test_the_trusted_time_never_runs_ahead_of_the_wall_clock(moves: list[tuple[float, float]]) -> None:
    trust, clock = begin()
    for passed, stepped in moves:
        clock.advance(passed)
        clock.step(stepped)
        trust, now, _ = look(trust, clock.wall(), clock.monotonic())
        assert now <= clock.wall() + 1e-3
