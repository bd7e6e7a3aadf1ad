"""Which time ages are counted from when somebody sets the clock."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from tests.daemon.upkeep.clocks import NOON, HandClock

from modelward.daemon.upkeep.clock_guard import (
    OFF_SECONDS,
    STEADY_SECONDS,
    Trust,
    judge,
)
from modelward.daemon.upkeep.clock_guard import ClockJudgement as Judgement

DAY = 86400.0


def begin() -> tuple[Trust, HandClock]:
    clock = HandClock()
    return Trust.begin(clock.wall(), clock.elapsed()), clock


def see(trust: Trust, clock: HandClock) -> tuple[Trust, Judgement]:
    return judge(trust, clock.wall(), clock.elapsed())


def test_the_wall_clock_is_believed_while_it_runs_with_the_other() -> None:
    trust, clock = begin()
    for _ in range(10):
        clock.advance(60)
        trust, judged = see(trust, clock)
        assert judged == Judgement(clock.wall())


def test_a_jump_to_2099_is_refused_and_not_believed_afterwards() -> None:
    trust, clock = begin()
    clock.advance(60)
    clock.step(73 * 365 * DAY)
    trust, judged = see(trust, clock)
    assert "jumped 26645d forward" in judged.refused
    clock.advance(1)
    trust, judged = see(trust, clock)
    assert "less than" in judged.refused  # a rotation and the sweep after it see the same jump
    clock.advance(59)
    trust, judged = see(trust, clock)
    assert (judged.now, judged.refused) == (NOON + 120, "")
    assert "26645d ahead of the time that passed" in judged.held


def test_a_jump_back_is_refused_once_and_then_followed_for_it_makes_files_younger() -> None:
    trust, clock = begin()
    clock.step(-DAY)
    trust, judged = see(trust, clock)
    assert "jumped 1d back" in judged.refused
    clock.advance(60)
    trust, judged = see(trust, clock)
    assert judged == Judgement(clock.wall())


def test_a_jump_forward_and_back_again_ends_where_it_began() -> None:
    trust, clock = begin()
    for step in (5 * DAY, -5 * DAY):
        clock.step(step)
        trust, judged = see(trust, clock)
        assert judged.refused
        clock.advance(60)
    assert see(trust, clock)[1] == Judgement(clock.wall())


def test_what_was_written_while_the_clock_was_behind_is_not_old_when_it_is_right_again() -> None:
    trust, clock = begin()
    clock.step(-40 * DAY)
    trust, _ = see(trust, clock)
    written = clock.wall()
    clock.step(40 * DAY)
    trust, _ = see(trust, clock)
    clock.advance(60)
    trust, judged = see(trust, clock)
    assert judged.now == written + 60 and judged.held


def test_a_clock_that_stands_ahead_for_a_day_is_believed() -> None:
    trust, clock = begin()
    clock.step(40 * DAY)
    trust, _ = see(trust, clock)
    clock.advance(STEADY_SECONDS - 1)
    trust, judged = see(trust, clock)
    assert judged.held and judged.now < clock.wall() - 39 * DAY
    clock.advance(1)
    trust, judged = see(trust, clock)
    assert judged == Judgement(clock.wall())


def test_a_suspend_is_no_jump() -> None:
    trust, clock = begin()
    clock.advance(20 * DAY)  # the time since the boot counts it, as the wall does
    assert see(trust, clock)[1] == Judgement(clock.wall())


def test_after_a_boot_a_week_of_absence_is_believed_and_more_has_to_stand_for_a_day() -> None:
    clock = HandClock()
    clock.advance(DAY)
    for away, believed in ((OFF_SECONDS - 60 - clock.elapsed(), True), (40 * DAY, False)):
        trust = Trust.after_boot(clock.wall() - away - clock.elapsed(), 0.0, clock.wall(), clock.elapsed())
        trust, judged = see(trust, clock)
        assert (judged.now == clock.wall()) is believed
        assert bool(judged.held) is not believed
    clock.advance(STEADY_SECONDS)
    assert see(trust, clock)[1] == Judgement(clock.wall())


def test_a_machine_without_a_clock_of_its_own_is_right_as_soon_as_the_network_says_the_time() -> None:
    clock = HandClock(wall=100.0)  # 1970, until then
    trust = Trust.after_boot(NOON - DAY, 0.0, clock.wall(), clock.elapsed())
    trust, judged = see(trust, clock)
    assert judged.now == clock.wall() and "behind the last time" in judged.trouble and not judged.held
    clock.step(NOON)
    trust, judged = see(trust, clock)
    assert judged.refused
    clock.advance(60)
    assert see(trust, clock)[1] == Judgement(clock.wall())


@given(st.lists(st.tuples(st.floats(0, 7200), st.floats(-1e9, 1e9)), max_size=20))
def test_the_trusted_time_never_runs_ahead_of_the_wall_clock(moves: list[tuple[float, float]]) -> None:
    trust, clock = begin()
    for passed, stepped in moves:
        clock.advance(passed)
        clock.step(stepped)
        trust, judged = see(trust, clock)
        assert judged.now <= clock.wall() + 1e-3
