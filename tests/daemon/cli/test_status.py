"""`modelward status`: the lines about what is probed, what is sent outside, and when a disk will be full."""

from __future__ import annotations

from typing import Any

import pytest
from tests.fakes.answers import made

from modelward.daemon.answers.status import StatusAnswer
from modelward.daemon.cli import status

PROBE = {"off": "", "passed": 12, "failed": 1, "in_a_row": 0, "because": "", "p95_seconds": 0.214}
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
        ({"heartbeat": BEAT}, "heartbeat delivered 1m ago"),
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
