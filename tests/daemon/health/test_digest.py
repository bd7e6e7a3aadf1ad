"""The daily message: once for each due time, late but not too late, and its words."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from modelward.daemon.health.digest import DayCounts, DigestFacts, due, text

ZONE = ZoneInfo("UTC")


def at(text: str) -> float:
    return datetime.fromisoformat(f"2026-12-{text}").replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("sent", "now", "expected", "seconds"),
    [
        ("01 09:00", "02 07:00", False, 3600),
        ("01 09:00", "02 08:00", True, 6 * 3600),
        ("01 09:00", "02 13:59", True, 6 * 3600),  # the daemon was down at eight
        ("01 09:00", "02 14:01", False, 6 * 3600),  # too late: tomorrow again
        ("02 08:00", "02 08:01", False, 6 * 3600),
        ("02 07:59", "02 08:00", True, 6 * 3600),
    ],
)
def test_is_due_once_a_day_and_for_a_while_after(sent: str, now: str, expected: bool, seconds: float) -> None:
    answer = due("08:00", ZONE, at(sent), at(now))
    assert (answer.now, answer.seconds) == (expected, seconds)


def test_says_how_things_are() -> None:
    counts = DayCounts(86400, 1200, 3, alerts=2, rejected=1, rollouts=4, removed_bytes=5 << 30)
    facts = DigestFacts("v1", 2, 2, "/", 61.2, 9 << 30, probe="1440 passed, 0 failed", counts=counts)
    said = text(facts, "box", 2000)
    assert said.title == "[digest] box: all is well"
    assert said.body.splitlines() == [
        "serving v1",
        "2 of 2 workers ready",
        "1200 requests, 3 failed, in 1d",
        "disk /: 61.2% used, 9GiB free",
        "probes: 1440 passed, 0 failed",
        "alerts: 2; versions rejected: 1; rollouts: 4",
        "upkeep removed 5GiB",
    ]


def test_is_chinese_where_alerts_are() -> None:
    counts = DayCounts(86400, 1200, 3, alerts=2, rejected=1, rollouts=4, removed_bytes=5 << 30)
    facts = DigestFacts("v1", 2, 2, "/", 61.2, 9 << 30, probe="off: no clip", counts=counts)
    said = text(facts, "box", 2000, "zh")
    assert said.title == "[digest] box: 一切正常"
    assert said.body.splitlines() == [
        "线上是 v1",
        "2 个 worker 中 2 个就绪",
        "1d内 1200 个请求，3 个失败",
        "磁盘 /：已用 61.2%，剩余 9GiB",
        "探测：已关闭：没有音频",
        "告警：2；被拒版本：1；上线：4",
        "清理了 5GiB",
    ]
    assert text(DigestFacts("", 0, 2, active=("the disk is full",) * 500), "box", 500, "zh").title.endswith("500 触发")


def test_names_what_fires_and_fits() -> None:
    said = text(DigestFacts("", 0, 2, active=("the disk is full",) * 500), "box", 500)
    odd = text(DigestFacts("v1", 1, 1, "/mnt/\udce4\n", 10.0, forecast="the disk under /mnt/\udce4 fills"), "box", 500)
    assert odd.body.encode() and "disk /mnt/ " in odd.body and len(odd.body.splitlines()) == 6
    assert said.title == "[digest] box: 500 firing" and "the disk is full" in said.body
    assert len(f"{said.title}\n{said.body}".encode()) <= 500 and said.body.endswith(" more")
