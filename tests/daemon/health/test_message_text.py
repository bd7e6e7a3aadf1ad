"""The words that people get: whole lines, within the limit, and never anybody else's control characters."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from modelward.daemon.config.alert_metrics import FIGURES
from modelward.daemon.health.addresses import MAX_BYTES, scrub
from modelward.daemon.health.alerts import Alert, AlertState
from modelward.daemon.health.message_text import fit, sentence, text
from modelward.daemon.health.notification_planner import GroupNotified, Item, Notification
from modelward.daemon.health.rules import BUILT_IN, HealthRule


def message(count: int, *, resolved: int = 0, group: str = "critical", words: str = "磁盘 is full") -> Notification:
    items = tuple(Item(f"a{n}", group, 0.0, f"{words} {n}") for n in range(count))
    return Notification(
        group, items, tuple((f"r{n}", f"{words} {n}") for n in range(resolved)), count, GroupNotified(0.0)
    )


def test_five_hundred_alerts_are_one_text_within_the_limit_that_counts_the_rest() -> None:
    said = text(message(500, words="磁" * 60), "box", 60.0, MAX_BYTES)
    assert said is not None
    assert len(f"{said.title}\n{said.body}".encode()) <= MAX_BYTES
    assert len(json.dumps(said.data, ensure_ascii=False).encode()) < 8_000
    *lines, last = said.body.splitlines()
    assert last == f"… and {500 - len(lines)} more"
    assert said.data["total"] == 500


def test_a_message_is_in_the_language_that_is_configured() -> None:
    said = text(message(1, resolved=1, words="the model root is absent"), "box", 90.0, MAX_BYTES, language="zh")
    assert said is not None and said.title == "[critical] box: 1 触发, 1 恢复"
    assert said.body.startswith("CRITICAL the model root is absent 0（已持续 1m30s）")
    root = Notification(
        "critical", (Item("a", "critical", 0.0, "the model root is absent"),), (), 1, GroupNotified(0.0)
    )
    said = text(root, "box", 90.0, MAX_BYTES, language="zh")
    assert said is not None and said.body == "CRITICAL 模型根目录不存在（已持续 1m30s）"
    assert said.data["alerts"][0]["message"] == "模型根目录不存在" and said.data["status"] == "firing"


def test_says_what_fires_since_when_and_what_is_over() -> None:
    said = text(message(1, resolved=1), "box", 90.0, MAX_BYTES)
    assert said is not None
    assert said.title == "[critical] box: 1 firing, 1 over"
    assert said.body == "CRITICAL 磁盘 is full 0 (for 1m30s)\nOK 磁盘 is full 0"
    assert said.kind == "failure"
    over = text(message(0, resolved=2), "box", 90.0, MAX_BYTES)
    assert over is not None
    assert (over.kind, over.data["status"]) == ("success", "resolved")


def test_a_channel_is_not_told_of_its_own_failure() -> None:
    own = Notification("warning", (Item("x", "warning", 0.0, "no", "1:webhook"),), (), 1, GroupNotified(0.0))
    assert text(own, "box", 1.0, 100, "1:webhook") is None
    assert text(own, "box", 1.0, 100, "2:mail") is not None


@given(
    st.lists(
        st.text(st.characters(exclude_characters="\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"), max_size=60), max_size=60
    ),
    st.integers(30, 900),
)
def test_fit_keeps_whole_lines_and_never_goes_over(lines: list[str], max_bytes: int) -> None:
    lines = [line.encode("utf-8", "ignore").decode() for line in lines]
    body = fit(lines, max_bytes)
    assert len(body.encode()) <= max_bytes
    if body != "\n".join(lines):
        *kept, last = body.split("\n")
        assert last == f"… and {len(lines) - len(kept)} more"
        assert kept == lines[: len(kept)]


def test_every_rule_has_a_sentence_of_its_own() -> None:
    for rule in BUILT_IN:
        alert = Alert(rule, "thing", AlertState.FIRING, 0.0, 95.0, "some cause", fired=0.0)
        assert "some cause" in sentence(alert)
        assert f"{rule.metric} of" not in sentence(alert)
    for metric in FIGURES:  # an operator may put a rule on any
        rule = HealthRule(metric, metric, 1.0, 1.0)
        assert sentence(Alert(rule, "", AlertState.FIRING, 0.0, 2.5, fired=0.0))


def test_what_others_wrote_can_not_paint_or_break_lines() -> None:
    rule = next(r for r in BUILT_IN if r.metric == "version_rejected")
    said = sentence(Alert(rule, "v1\n\x1b[2J", AlertState.FIRING, 0.0, 1.0, "a\r\nb" + "x" * 5000, fired=0.0))
    assert said.isprintable()
    assert len(said) < 700


def test_no_data_says_so() -> None:
    rule = BUILT_IN[0]
    said = sentence(Alert(rule, "/data", AlertState.NO_DATA, 0.0, None, "no answer for 6 s"))
    assert said == "nothing is known about disk_used_percent of /data: no answer for 6 s"


def test_scrub_takes_every_part_of_an_address_out() -> None:
    url = "https://alice:hun%40ter2@example.org/T0ken/x?key=s3cret&a=b"
    shown = scrub(f"failed {url} hun@ter2 alice T0ken s3cret example.org key", url)
    for secret in ("alice", "ter2", "T0ken", "s3cret"):
        assert secret not in shown
    assert shown.startswith("failed …")
