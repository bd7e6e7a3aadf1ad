"""`modelward status`: the lines about what is probed, what is sent outside, and when a disk will be full."""

from __future__ import annotations

from typing import Any

import pytest
from tests.fakes.answers import made

from modelward.daemon.answers.status import StatusAnswer
from modelward.daemon.cli import status
from modelward.daemon.cli.render import local

MOMENT = "2026-12-01T00:00:00.000Z"
PROBE = {"off": "", "passed": 12, "failed": 1, "in_a_row": 0, "because": "", "p95_seconds": 0.214}
LAST = {
    "time": MOMENT, "passed": True, "seconds": 0.09, "version": "v1", "clip": "a.wav",
    "expected": "555", "got": "5 5 5",
}  # fmt: skip
FAILING = {"in_a_row": 2, "because": "it answered 500", "failing_since": MOMENT}
BEAT = {"failures": 0, "because": "", "failing": False, "seconds_ago": 60.0}


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"probe": PROBE}, "probe    12 passed, 1 failed, 95 % within 214ms"),
        ({"probe": PROBE | {"p95_seconds": None}}, "probe    12 passed, 1 failed"),
        (
            {"probe": PROBE | {"because": "it answered 500", "p95_seconds": None}},
            "probe    12 passed, 1 failed; it answered 500",
        ),
        ({"probe": PROBE | {"off": "no clip"}}, "probe    off: no clip"),
        ({"probe": PROBE | FAILING}, f"         it has failed since {local(MOMENT)}"),
        (
            {"probe": PROBE | {"last": LAST}},
            f"         the last one at {local(MOMENT)}: 90ms; a.wav expected “555”, got “5 5 5”",
        ),
        ({"heartbeat": BEAT}, "heartbeat delivered 1m ago"),
        (
            {"heartbeat": BEAT | {"failed": MOMENT, "failed_because": "it answered 500"}},
            f"         the last one that was not delivered, at {local(MOMENT)}: it answered 500",
        ),
        ({"heartbeat": BEAT | {"because": "it answered 500"}}, "heartbeat not delivered 1m ago: it answered 500"),
        (
            {"disk": {"mount": "/", "used_percent": 61.0, "free_bytes": 1 << 30, "forecast": "/ will be full"}},
            "         / will be full",
        ),
    ],
)
def test_has_a_line_for_each(given: dict[str, Any], line: str) -> None:
    assert line in status.lines(made(StatusAnswer, given))


def test_has_none_about_a_heartbeat_that_is_not_configured() -> None:
    assert not [line for line in status.lines(made(StatusAnswer, {})) if line.startswith("heartbeat")]
