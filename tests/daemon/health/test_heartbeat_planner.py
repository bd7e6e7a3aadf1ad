"""When a heartbeat is sent, where to, and what it says."""

from __future__ import annotations

import pytest

from modelward.daemon.health.heartbeat_planner import LEAST_SECONDS, Beaten, beat_url, due, words

URL = "https://beat.example/ping/uuid"


@pytest.mark.parametrize(
    ("url", "failing", "expected"),
    [
        (URL, False, URL),
        (URL, True, f"{URL}/fail"),
        (f"{URL}/?k=1", True, f"{URL}/fail?k=1"),
        ("https://beat.example", True, "https://beat.example/fail"),
    ],
)
def test_goes_to_fail_while_something_critical_is_wrong(url: str, failing: bool, expected: str) -> None:
    assert beat_url(url, failing=failing) == expected


def test_is_due_at_once_then_every_so_often_and_soon_after_a_change() -> None:
    assert due(None, URL, 300, failing=False) < 0
    last = Beaten(1000.0, URL, False)
    assert due(last, URL, 300, failing=False) == 1300
    assert due(last, URL, 300, failing=True) == 1000 + LEAST_SECONDS
    lost = Beaten(1000.0, URL, True, "no connection")
    assert due(lost, URL, 300, failing=True) == 1030 and due(lost, URL, 20, failing=True) == 1020
    assert due(last, "https://other.example", 300, failing=False) < 0


def test_says_what_is_served_or_what_is_wrong_and_not_too_much() -> None:
    assert words("box", "v1", []) == "box: serving v1"
    assert words("box", "", []) == "box: nothing is served yet"
    assert words("box", "v1", ["the disk is full"]) == "box: the disk is full"
    assert len(words("box", "v1", ["x" * 900] * 20)) == 1000
