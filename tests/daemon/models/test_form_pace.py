"""A compiler runs, is paused or is given up: tables of what the machine does."""

from __future__ import annotations

from typing import Any

import pytest

from modelward.daemon.models.form_pace import (
    CompilerLimits,
    CompilerPace,
    CompilerSample,
    limits_for,
    stands_aside,
    step,
)

LIMITS = CompilerLimits(cpu_seconds=100.0, short_seconds=30.0, still_seconds=60.0, reserve_bytes=256 << 20)
PAUSED = CompilerPace("paused", "the workers use 90% of the processors")


def sample(**more: Any) -> CompilerSample:
    usual: dict[str, Any] = {
        "now": 1000.0, "busy": 0.1, "available_bytes": 8 << 30, "pressure": 0.0, "cpu_seconds": 5.0, "eager": True,
        "lines": 1,
    }  # fmt: skip
    return CompilerSample(**{**usual, **more})


@pytest.mark.parametrize(
    ("before", "more", "urgent", "state"),
    [
        (CompilerPace(), {}, False, "running"),
        (CompilerPace(), {"busy": 0.8}, False, "paused"),
        (CompilerPace(), {"busy": 0.8}, True, "running"),  # a version waits for it
        (PAUSED, {"busy": 0.7}, False, "paused"),  # not to and fro
        (PAUSED, {"busy": 0.5}, False, "running"),
        (CompilerPace(), {"available_bytes": 100 << 20}, True, "paused"),
        (CompilerPace(), {"pressure": 50.0}, False, "paused"),
        (CompilerPace(), {"available_bytes": None, "pressure": None}, False, "running"),
        (CompilerPace(), {"cpu_seconds": 101.0}, False, "given up"),
    ],
)
def test_requests_and_memory_go_first(before: CompilerPace, more: dict[str, Any], urgent: bool, state: str) -> None:
    after = step(before, sample(**more), LIMITS, urgent=urgent)
    assert after.state == state
    assert bool(after.because) == (state != "running")


def test_the_limit_of_processor_time_grows_with_what_judging_took() -> None:
    assert limits_for(120.0, 1, 2.0).cpu_seconds == 1800.0
    assert limits_for(120.0, 2, 100.0).cpu_seconds == 12_000.0
    assert limits_for(0.0, 1, 100.0).cpu_seconds == 0.0  # none


def test_memory_that_stays_short_ends_it_and_memory_that_comes_back_does_not() -> None:
    pace = CompilerPace()
    for second in range(29):
        pace = step(pace, sample(now=1000.0 + second, available_bytes=1), LIMITS, urgent=False)
        assert pace.state == "paused"
    back = step(pace, sample(now=1029.0), LIMITS, urgent=False)
    assert (back.state, back.short_since) == ("running", None)
    assert step(pace, sample(now=1031.0, available_bytes=1), LIMITS, urgent=False).state == "given up"


def test_one_that_stands_still_is_given_up_and_one_that_waits_for_its_turn_never() -> None:
    still = starved = CompilerPace()
    for second in range(0, 4000, 10):
        now = 1000.0 + second
        starved = step(starved, sample(now=now, eager=True), LIMITS, urgent=False)
        if still.state != "given up":
            still = step(still, sample(now=now, eager=False), LIMITS, urgent=False)
    assert starved.state == "running"
    assert still.state == "given up" and "stood still for 60 s" in still.because


@pytest.mark.parametrize(
    ("used", "slots", "aside"),
    [
        (0, 0, False),
        (0, 1, False),
        (1, 1, True),
        (1, 2, True),
        (1, 3, True),
        (1, 4, False),
        (2, 4, True),
        (7, 16, False),
    ],
)
def test_it_stands_aside_while_half_of_the_slots_are_used(used: int, slots: int, aside: bool) -> None:
    assert stands_aside(used, slots) == aside


def test_the_time_of_a_pause_is_not_its_own() -> None:
    pace = PAUSED
    for second in range(0, 600, 10):
        pace = step(pace, sample(now=1000.0 + second, eager=False, busy=0.9), LIMITS, urgent=False)
    assert pace.state == "paused"
    assert step(pace, sample(now=1600.0, eager=False), LIMITS, urgent=False).state == "running"
