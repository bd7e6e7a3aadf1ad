"""What counts against a limit: CPU time that is used and time without progress, never waiting for one's turn."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from modelward.worker.shared.progress import (
    Allowance,
    ProcessReading,
    Spent,
    after,
    begin,
    over,
    scale,
    starved,
)

START = ProcessReading(at=100.0, cpu_seconds=5.0)
ALLOWED = Allowance(still_seconds=10.0, cpu_seconds=30.0)


def spent(second: ProcessReading, steps: int, longest_step_seconds: float = 3.0) -> Spent:
    """After `steps` readings; from one to the next happens what `second` says."""
    found, reading = begin(START), START
    for _ in range(steps):
        reading = ProcessReading(
            reading.at + second.at,
            reading.cpu_seconds + second.cpu_seconds,
            reading.waited_seconds + second.waited_seconds,
            reading.disk_bytes + second.disk_bytes,
            reading.faults + second.faults,
            second.state,
        )
        found = after(found, reading, longest_step_seconds)
    return found


NOTHING = ProcessReading(at=1.0, cpu_seconds=0.0)


@pytest.mark.parametrize(
    ("second", "own", "because"),
    [
        (replace(NOTHING, cpu_seconds=1.0, state="R"), True, "it used the 30 s of CPU time allowed"),
        (replace(NOTHING, cpu_seconds=4.0), True, "it used the 30 s of CPU time allowed"),
        (NOTHING, True, "it made no progress for 10 s"),
        (replace(NOTHING, cpu_seconds=0.0001, waited_seconds=0.0001), True, "it made no progress for 10 s"),
        (replace(NOTHING, state="T"), False, "it made no progress for 10 s: it is stopped by a signal"),
        (replace(NOTHING, state="D"), False, "it made no progress for 10 s: it waits for a disk"),
    ],
)
def test_an_endless_loop_a_hang_and_a_stopped_process_reach_a_limit(
    second: ProcessReading, own: bool, because: str
) -> None:
    end = over(spent(second, 40), ALLOWED)
    assert end is not None
    assert (end.own, end.because) == (own, because)


@pytest.mark.parametrize(
    "second",
    [
        replace(NOTHING, cpu_seconds=0.02),
        replace(NOTHING, state="R"),
        replace(NOTHING, waited_seconds=0.9),
        replace(NOTHING, disk_bytes=4096, state="D"),
        replace(NOTHING, faults=1, state="D"),
    ],
    ids=["a fiftieth of a processor", "runnable", "waiting for a processor", "reading", "reading what is mapped"],
)
def test_a_starved_process_and_a_slow_disk_use_up_nothing_but_their_cpu_time(second: ProcessReading) -> None:
    assert over(spent(second, 1000), ALLOWED) is None


def test_progress_begins_the_time_without_it_anew() -> None:
    found = spent(NOTHING, 9)
    assert found.still_seconds == 9
    found = after(found, replace(found.last, at=found.last.at + 1, disk_bytes=1), 3.0)
    assert found.still_seconds == 0


def test_a_watch_that_was_stopped_itself_counts_no_more_than_one_long_step() -> None:
    assert spent(replace(NOTHING, at=3600.0), 1).seconds == 3.0


def test_without_a_limit_nothing_is_over() -> None:
    assert over(spent(replace(NOTHING, cpu_seconds=9.0), 1000), Allowance()) is None


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        (replace(NOTHING, waited_seconds=0.9, cpu_seconds=0.1), True),
        (replace(NOTHING, state="R", cpu_seconds=0.1), True),
        (replace(NOTHING, waited_seconds=1.0, cpu_seconds=0.9), False),
        (NOTHING, False),
        (replace(NOTHING, state="T"), False),
    ],
)
def test_a_process_that_wants_to_run_and_may_not_is_starved(second: ProcessReading, expected: bool) -> None:
    found = spent(second, 1)
    assert starved(found.first, found.last) is expected


def test_a_limit_grows_with_size_and_slowness_and_never_shrinks() -> None:
    assert scale(0) == scale(240 << 20) == 1.0
    assert scale(2000 << 20) == 4.0
    assert scale(1000 << 20, 3.0) == 6.0
    assert scale(0, 0.5) == 1.0
