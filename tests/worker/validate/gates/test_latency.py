"""Only a version that is slower by every measure is too slow."""

from __future__ import annotations

import pytest

from modelward.worker.validate.gates.latency import (
    LEAST_ROUNDS,
    ROUNDS,
    SubjectTimes,
    paces,
    too_slow,
)


def pace(wall: float, cpu: float) -> SubjectTimes:
    return SubjectTimes([wall], runs=1, cpu=cpu)


@pytest.mark.parametrize(
    ("ours", "theirs", "only_cpu", "slow"),
    [
        (pace(0.300, 0.300), pace(0.100, 0.100), True, True),
        (pace(0.200, 0.200), pace(0.100, 0.100), True, False),  # exactly as much as is allowed
        (pace(0.300, 0.110), pace(0.100, 0.100), True, False),  # the machine was busy
        (pace(0.110, 0.300), pace(0.100, 0.100), True, False),
        (pace(0.300, 0.001), pace(0.100, 0.001), False, True),  # a device computes, the CPU waits
        (pace(0.012, 0.012), pace(0.003, 0.003), True, False),  # too little to matter
        (pace(0.014, 0.014), pace(0.003, 0.003), True, True),
    ],
)
def test_both_measures_must_agree(ours: SubjectTimes, theirs: SubjectTimes, only_cpu: bool, slow: bool) -> None:
    assert too_slow(ours, theirs, 2.0, only_cpu=only_cpu) is slow


def test_the_two_take_turns_on_each_piece_of_work() -> None:
    done: list[str] = []
    ours = [lambda: done.append("a1"), lambda: done.append("a2")]
    theirs = [lambda: done.append("b1"), lambda: done.append("b2")]
    first, second = paces(ours, theirs, patience_seconds=60)
    assert done == ["a1", "b1", "a2", "b2"] * ROUNDS
    assert first.runs == second.runs == 2 * ROUNDS
    assert 0 <= first.wall_seconds < 1


def test_two_rounds_are_enough_for_a_version_that_is_fast_enough() -> None:
    done: list[str] = []
    looked: list[int] = []

    def enough(ours: SubjectTimes, theirs: SubjectTimes) -> bool:
        looked.append(ours.runs)
        return True

    paces([lambda: done.append("a")], [lambda: done.append("b")], 60, enough)
    assert done == ["a", "b"] * LEAST_ROUNDS
    assert looked == [LEAST_ROUNDS]


def test_one_round_is_done_even_without_patience() -> None:
    done: list[str] = []
    paces([lambda: done.append("a")], [lambda: done.append("b")], patience_seconds=0)
    assert done == ["a", "b"]
