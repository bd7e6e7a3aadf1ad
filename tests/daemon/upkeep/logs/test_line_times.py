"""When a line was written, and which lines are younger than a time."""

from __future__ import annotations

import pytest

from modelward.daemon.upkeep.logs.line_times import Since, time_of

NOON = 1767268800.0  # 2026-01-01T12:00:00Z


@pytest.mark.parametrize(
    ("line", "seconds"),
    [
        (b'{"time":"2026-01-01T12:00:00.250Z","level":"info"}', NOON + 0.25),
        (b'{"time": "2026-01-01T12:00:00Z"}', NOON),
        (b"2026-01-01 12:00:00,500 INFO ready", NOON + 0.5),
        (b"[2026-01-01 14:00:00 +0200] [7] [INFO] booting", NOON),
        (b"2026-01-01T12:00:00.123456789Z x", NOON + 0.123456),
        (b"2026-13-01T12:00:00Z", None),
        (b"Traceback (most recent call last):", None),
        (b'{"event":"x","time":"2026-01-01T12:00:00Z"}', None),
        (b"\xff", None),
        (b"", None),
    ],
)
def test_a_line_gives_its_time_or_none(line: bytes, seconds: float | None) -> None:
    found = time_of(line)
    assert found is None if seconds is None else found == pytest.approx(seconds, abs=1e-4)


def test_a_line_without_a_time_belongs_to_the_line_before_it() -> None:
    since = Since(NOON)
    old, new = b"2026-01-01 11:59:59 old", b"2026-01-01 12:00:00 new"
    lines = [b"unknown", old, b"  its traceback", new, b"  its traceback", old]
    assert [line for line in lines if since.keeps(line)] == [b"unknown", new, b"  its traceback"]
