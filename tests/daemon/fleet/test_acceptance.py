"""No clock makes a machine follow an old record, and none stops it for ever."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.daemon.fleet.records import EXPIRES, ISSUED, signed

from modelward.daemon.fleet.acceptance import CLOCK_ERROR_SECONDS, LastTaken, accept, in_force
from modelward.daemon.units import DAY, HOUR

SAME = signed()
LAST = LastTaken(7, SAME.digest, ISSUED)


@pytest.mark.parametrize(
    ("more", "last", "now", "seen", "do", "because"),
    [
        ({}, None, ISSUED, 0, "take", "wants v2"),
        ({}, LAST, ISSUED, 0, "keep", "followed already"),
        ({"sequence": 8}, LAST, ISSUED, 0, "take", "wants v2"),
        ({"sequence": 6}, LAST, ISSUED, 0, "refuse", "an old one"),
        ({"sequence": 6}, LAST, 0, 10 * DAY, "refuse", "an old one"),
        ({"hold": True}, LAST, ISSUED, 0, "refuse", "two different records"),
        ({}, None, EXPIRES, 0, "refuse", "ended at"),
        ({}, None, EXPIRES - 1, 0, "take", ""),
        # The clock is late: the last record's issue is later than the end of this one.
        ({"sequence": 8}, LastTaken(7, "", EXPIRES), ISSUED, 0, "refuse", "ended at"),
        # The clock is late by up to a day and an hour: followed. By more: after a day.
        ({}, None, ISSUED - CLOCK_ERROR_SECONDS, 0, "take", ""),
        ({}, None, ISSUED - CLOCK_ERROR_SECONDS - 1, 0, "wait", "set the clock"),
        ({}, None, 0, DAY - 1, "wait", "set the clock"),
        ({}, None, 0, DAY, "take", ""),
        ({}, None, ISSUED + DAY, 0, "take", ""),
    ],
)
def test_what_is_followed(
    more: dict[str, Any], last: LastTaken | None, now: float, seen: float, do: str, because: str
) -> None:
    answer = accept(signed(**more), last, now, seen)
    assert (answer.do, because in answer.because) == (do, True)
    assert (answer.taken is not None) == (do == "take")


def test_a_record_that_was_issued_far_ahead_does_not_shut_out_those_that_follow() -> None:
    far = signed(issued="2036-01-01T00:00:00Z", expires="2037-01-01T00:00:00Z")
    taken = accept(far, None, ISSUED, DAY).taken
    assert taken is not None
    assert taken.issued_at == ISSUED + CLOCK_ERROR_SECONDS
    assert accept(signed(sequence=8), taken, ISSUED, 0).do == "take"


def test_a_record_past_its_end_begins_nothing_new() -> None:
    assert in_force(SAME, LAST, EXPIRES - 1) == ""
    assert "nothing new begins" in in_force(SAME, LAST, EXPIRES)
    assert "nothing new begins" in in_force(SAME, LastTaken(7, "", EXPIRES), ISSUED)


@given(st.lists(st.tuples(st.integers(1, 9), st.floats(-2 * DAY, 40 * DAY), st.floats(0, 2 * DAY)), max_size=12))
def test_whatever_is_offered_the_number_never_falls(offers: list[tuple[int, float, float]]) -> None:
    last: LastTaken | None = None
    for sequence, ago, seen in offers:
        answer = accept(RECORDS[sequence], last, ISSUED + ago, seen)
        if answer.taken is not None:
            assert last is None or answer.taken.sequence > last.sequence
            assert ISSUED + ago < EXPIRES
            last = answer.taken


RECORDS = {sequence: signed(sequence=sequence) for sequence in range(1, 10)}


def test_a_wrong_clock_delays_and_does_not_decide() -> None:
    """From ten years early to a day late: once it has been offered for a day, it is followed."""
    for error in (-10 * 366 * DAY, -DAY, -HOUR, 0, HOUR, DAY):
        assert accept(SAME, None, ISSUED + HOUR + error, DAY).do == "take"
