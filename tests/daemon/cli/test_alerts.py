"""`modelward alerts` and `modelward alerts test` against a fake daemon."""

from __future__ import annotations

from typing import Any

import pytest
from tests.daemon.cli.conftest import Call
from tests.fakes.admin import FakeAdmin

ALERT: dict[str, Any] = {
    "name": "disk_used_percent",
    "subject": "/",
    "state": "firing",
    "severity": "critical",
    "metric": "disk_used_percent",
    "value": 93.2,
    "threshold": 90,
    "since": "2026-01-01T00:00:00Z",
    "message": "93 % of the disk under / is used\x1b[2J",
}
FAILING = {"channel": "2:mail", "failures": 4, "because": "it answered 500"}


def test_lists_what_is_alarming_and_which_channel_is_deaf(ask: Call, admin: FakeAdmin) -> None:
    admin.reply(
        "GET", "/v1/alerts", {"alerts": [ALERT], "channels": [{"channel": "1:webhook", "failures": 0}, FAILING]}
    )
    outcome = ask("alerts")
    assert outcome.status == 0
    assert "93 % of the disk under / is used" in outcome.out
    assert "\x1b[2J" not in outcome.out
    assert "alerts do not arrive at 2:mail: it answered 500" in outcome.out
    assert "webhook" not in outcome.out


def test_says_when_nothing_is_alarming(ask: Call, admin: FakeAdmin) -> None:
    admin.reply("GET", "/v1/alerts", {"alerts": [], "channels": []})
    assert ask("alerts").out == "nothing is alarming\n"


def test_a_test_shows_each_channel_and_fails_when_one_does(ask: Call, admin: FakeAdmin) -> None:
    channels = [
        {"channel": "1:webhook", "delivered": True, "because": ""},
        {"channel": "2:mail", "delivered": False, "because": "no connection: Connection refused"},
    ]
    answer = {"success": False, "message": "cannot reach 1 of 2 channels", "channels": channels}
    admin.reply("POST", "/v1/alerts/test", answer)
    outcome = ask("alerts", "test")
    assert outcome.status == 1
    assert "1:webhook" in outcome.out
    assert "Connection refused" in outcome.out
    assert outcome.err == "cannot reach 1 of 2 channels\n"
    assert ask("alerts", "test", "--json").status == 1
    admin.reply("POST", "/v1/alerts/test", {"success": True, "message": "2 channels reached", "channels": channels[:1]})
    assert ask("alerts", "test").status == 0


def test_shows_what_is_held_back_and_why(ask: Call, admin: FakeAdmin) -> None:
    alert = ALERT | {
        "held": "muted until x",
        "acknowledged": {"since": "2026-01-01T00:00:00Z", "because": "disk comes"},
    }
    answer = {
        "alerts": [alert],
        "channels": [],
        "mutes": [{"name": "all", "until": "2026-01-01T04:00:00Z", "because": "moving\x1b[2J"}],
        "windows": [{"alerts": ["cpu_used_percent"], "until": "2026-01-01T04:00:00Z", "because": "quiet hours"}],
    }
    admin.reply("GET", "/v1/alerts", answer)
    out = ask("alerts").out
    assert "firing, acknowledged, held back" in out and "disk_used_percent is acknowledged: disk comes" in out
    assert "all is muted until " in out and ": moving" in out and "\x1b[2J" not in out
    assert "cpu_used_percent wait; critical ones are sent" in out


@pytest.mark.parametrize(
    ("argv", "path", "body"),
    [
        (("mute", "all", "4h", "--why", "moving"), "mute", {"name": "all", "duration": "4h", "why": "moving"}),
        (("unmute",), "unmute", {"name": ""}),
        (("unmute", "all"), "unmute", {"name": "all"}),
        (("ack", "workers_ready"), "ack", {"name": "workers_ready", "why": ""}),
    ],
)
def test_asks_the_daemon_to_hold_alerts_back(
    ask: Call, admin: FakeAdmin, argv: tuple[str, ...], path: str, body: dict[str, str]
) -> None:
    admin.reply("POST", f"/v1/alerts/{path}", {"success": True, "message": "it is so"})
    assert ask("alerts", *argv) == (0, "it is so\n", "")
    assert admin.asked[-1].body == body


@pytest.mark.parametrize(
    ("argv", "because"),
    [
        (("mute",), "it needs the name of an alert, or all"),
        (("mute", "all"), "it needs a duration, like 4h"),
        (("mute", "all", "soon"), '"soon" is no duration'),
        (("ack",), "it needs the name of an alert, or all"),
        (("test", "all"), "all is one argument too much"),
        (("unmute", "all", "4h"), "4h is one argument too much"),
        (("list", "--why", "x"), "--why belongs to mute and ack"),
    ],
)
def test_arguments_that_do_not_belong_together_are_a_mistake_in_usage(
    ask: Call, argv: tuple[str, ...], because: str
) -> None:
    outcome = ask("alerts", *argv)
    assert outcome.status == 2 and because in outcome.err


def test_another_word_is_a_mistake_in_usage(ask: Call) -> None:
    assert ask("alerts", "stop").status == 2
