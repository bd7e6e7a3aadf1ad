"""`modelward alerts` and `modelward alerts test` against a fake daemon."""

from __future__ import annotations

from typing import Any

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


def test_another_word_is_a_mistake_in_usage(ask: Call) -> None:
    assert ask("alerts", "stop").status == 2
