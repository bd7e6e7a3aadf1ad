"""What cron's five fields mean, and what is refused."""

from __future__ import annotations

from datetime import date

import pytest

from modelward.daemon.config.cron import clock_time, daily, parse


@pytest.mark.parametrize(
    ("text", "minutes", "hours"),
    [
        ("30 2 * * *", (30,), (2,)),
        ("*/20 8-10 * * *", (0, 20, 40), (8, 9, 10)),
        ("5/30 0,12 * * *", (5, 35), (0, 12)),
        ("0 22-23/1 * * *", (0,), (22, 23)),
    ],
)
def test_times_of_the_day(text: str, minutes: tuple[int, ...], hours: tuple[int, ...]) -> None:
    times = parse(text)
    assert (times.minutes, times.hours) == (minutes, hours)


@pytest.mark.parametrize(
    ("text", "day", "begins"),
    [
        ("0 0 * * *", date(2026, 12, 1), True),
        ("0 0 1 * *", date(2026, 12, 1), True),
        ("0 0 2 * *", date(2026, 12, 1), False),
        ("0 0 * dec *", date(2026, 12, 1), True),
        ("0 0 * jan-nov *", date(2026, 12, 1), False),
        ("0 0 * * tue", date(2026, 12, 1), True),
        ("0 0 * * mon-fri", date(2026, 12, 5), False),
        ("0 0 * * 7", date(2026, 12, 6), True),  # Sunday is 0 and 7
        ("0 0 * * SUN", date(2026, 12, 6), True),
        ("0 0 13 * fri", date(2026, 12, 4), True),  # both days limited: either is enough
        ("0 0 13 * fri", date(2026, 12, 13), True),
        ("0 0 13 * fri", date(2026, 12, 12), False),
        ("0 0 29 2 *", date(2028, 2, 29), True),
    ],
)
def test_days(text: str, day: date, begins: bool) -> None:
    assert parse(text).on(day) is begins


@pytest.mark.parametrize(
    "text",
    ["", "* * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 8", "*/0 * * * *", "5-3 * * * *",
     "x * * * *", "1-2-3 * * * *", "0 0 31 feb,apr *", "0 0 30 2 *", "-1 * * * *", "² * * * *", "0 " * 200],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse(text)


def test_a_time_of_the_day() -> None:
    assert clock_time("7:05") == (7, 5) and daily("07:05") == parse("5 7 * * *")
    for text in ("24:00", "7", "7:5", "12:60", "", " 7:05"):
        with pytest.raises(ValueError, match="no time of the day"):
            clock_time(text)
