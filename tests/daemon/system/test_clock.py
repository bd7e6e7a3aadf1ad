"""What every clock promises, the machine's and the tests' own."""

from __future__ import annotations

import pytest
from tests.fakes.clock import FakeClock

from modelward.daemon.system.clock import Clock, SystemClock, rfc3339


@pytest.mark.parametrize("clock", [SystemClock(), FakeClock()], ids=["the machine's", "the tests'"])
def test_a_clock_counts_seconds_and_never_goes_back(clock: Clock) -> None:
    before, wall = clock.monotonic(), clock.wall()
    if isinstance(clock, FakeClock):
        clock.advance(0.5)
    assert clock.monotonic() >= before
    assert wall > 1_500_000_000
    assert isinstance(clock.wall(), float)


def test_setting_the_wall_clock_moves_no_duration() -> None:
    clock = FakeClock()
    before = clock.monotonic()
    clock.set_wall(0.0)
    assert clock.monotonic() == before
    clock.advance(2.0)
    assert (clock.monotonic(), clock.wall()) == (before + 2.0, 2.0)
    with pytest.raises(ValueError, match="cannot go back"):
        clock.advance(-1.0)


def test_times_for_people_are_rfc_3339_in_utc() -> None:
    assert rfc3339(0.0) == "1970-01-01T00:00:00.000Z"
    assert rfc3339(1_800_000_000.25) == "2027-01-15T08:00:00.250Z"
