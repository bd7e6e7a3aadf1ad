"""What fails again and again is tried ever less often, whatever else fails meanwhile."""

from __future__ import annotations

from modelward.daemon.models.attempts import MOST, Attempts


def tried(attempts: Attempts, things: list[str], seconds: int) -> list[int]:
    """The seconds at which something was tried, when all is tried as soon as it may be and always fails."""
    found = []
    for now in range(seconds):
        for thing in things:
            if not attempts.waits(thing, now):
                found.append(now)
                attempts.failed(thing, now)
    return found


def test_each_failure_in_a_row_makes_the_pause_longer() -> None:
    assert tried(Attempts((1.0, 2.0, 5.0)), ["a"], 20) == [0, 1, 3, 8, 13, 18]


def test_two_things_that_fail_in_turn_both_back_off() -> None:
    assert tried(Attempts((1.0, 2.0, 5.0)), ["a", "b"], 20) == [0, 0, 1, 1, 3, 3, 8, 8, 13, 13, 18, 18]


def test_after_a_success_a_failure_is_the_first() -> None:
    attempts = Attempts((1.0, 60.0))
    attempts.failed("a", 0.0)
    attempts.succeeded("a")
    attempts.failed("a", 10.0)
    assert attempts.waits("a", 10.5) and not attempts.waits("a", 11.0) and not attempts.waits("b", 0.0)


def test_however_many_fail_few_are_remembered() -> None:
    attempts = Attempts((60.0,))
    for number in range(10_000):
        attempts.failed(str(number), 0.0)
    assert sum(attempts.waits(str(number), 1.0) for number in range(10_000)) == MOST
    assert attempts.waits("9999", 1.0), "the latest"
