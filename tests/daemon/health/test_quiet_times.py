"""Windows and quiet hours by the clock of a time zone, over the days on which that clock is changed."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from modelward.daemon.config.cron import parse as parse_cron
from modelward.daemon.config.load import Alerts, parse
from modelward.daemon.config.local_times import last_begin, next_begin
from modelward.daemon.health.quiet_times import FAR_SECONDS, quiet_plan
from modelward.daemon.units import DAY

ZONE = "Europe/Berlin"
SHOWN = "%Y-%m-%d %H:%M %Z"


def alerts(text: str) -> Alerts:
    return parse(f'[alerts]\ntime_zone = "{ZONE}"\n{text}', "the test").alerts


def at(text: str, fold: int = 0) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(ZONE), fold=fold).timestamp()


def shown(wall: float) -> str:
    return datetime.fromtimestamp(wall, ZoneInfo(ZONE)).strftime(SHOWN)


def until(given: Alerts, wall: float, severity: str = "warning", rule: str = "cpu_used_percent") -> str:
    """Until when this alert is held back; "" for not at all."""
    window = quiet_plan(given, wall).held_by(rule, f"{rule}:", severity)
    return shown(window.until) if window else ""


NIGHT = alerts('quiet = {from = "22:00", to = "07:00"}')
WEEK = alerts('quiet = {from = "22:00", to = "07:00", days = ["mon", "tue"]}')
NOON = alerts('quiet = {from = "12:00", to = "13:00"}')
CHANGE = alerts('quiet = {from = "02:30", to = "06:00"}')


@pytest.mark.parametrize(
    ("given", "now", "held"),
    [
        (NIGHT, "2026-12-01 21:59", ""),
        (NIGHT, "2026-12-01 22:00", "2026-12-02 07:00 CET"),
        (NIGHT, "2026-12-02 06:59", "2026-12-02 07:00 CET"),
        (NIGHT, "2026-12-02 07:00", ""),
        (NOON, "2026-12-01 12:30", "2026-12-01 13:00 CET"),
        (NOON, "2026-12-01 13:00", ""),
        (WEEK, "2026-12-02 03:00", "2026-12-02 07:00 CET"),  # began on Tuesday
        (WEEK, "2026-12-02 23:00", ""),  # Wednesday
        # the night in which the clock goes from 2 to 3, and the one in which it goes back from 3 to 2
        (NIGHT, "2026-03-29 06:00", "2026-03-29 07:00 CEST"),
        (NIGHT, "2026-10-25 06:00", "2026-10-25 07:00 CET"),
        (CHANGE, "2026-03-29 03:20", ""),  # 02:30 does not exist: it counts as 03:30
        (CHANGE, "2026-03-29 03:30", "2026-03-29 06:00 CEST"),
        (CHANGE, "2026-10-25 02:30", "2026-10-25 06:00 CET"),
        (CHANGE, "2026-10-25 05:59", "2026-10-25 06:00 CET"),
    ],
)
def test_quiet_hours_hold_warnings_back_by_the_local_clock(given: Alerts, now: str, held: str) -> None:
    assert until(given, at(now)) == held
    assert until(given, at(now), "critical") == ""


@pytest.mark.parametrize(
    ("zone", "begin", "end", "now", "held"),
    [
        # the clock goes from 2 to 3 and leaves these hours out
        ("Europe/Berlin", "02:00", "03:00", "2026-03-29 03:30", False),
        ("Europe/Berlin", "02:00", "03:00", "2026-03-29 12:00", False),
        ("Europe/Berlin", "02:00", "03:00", "2026-03-30 02:30", True),
        ("Europe/Berlin", "02:00", "03:30", "2026-03-29 03:10", True),
        ("Africa/Cairo", "00:00", "01:00", "2026-04-24 15:00", False),
        ("Africa/Cairo", "00:00", "02:00", "2026-04-24 01:30", True),
        ("Africa/Cairo", "00:00", "02:00", "2026-04-24 02:30", False),
    ],
)
def test_quiet_hours_that_the_clock_leaves_out_do_not_last_until_the_next_day(
    zone: str, begin: str, end: str, now: str, held: bool
) -> None:
    text = f'[alerts]\ntime_zone = "{zone}"\nquiet = {{from = "{begin}", to = "{end}"}}'
    wall = datetime.fromisoformat(now).replace(tzinfo=ZoneInfo(zone)).timestamp()
    assert bool(until(parse(text, "the test").alerts, wall)) is held


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Australia/Lord_Howe", "Asia/Shanghai"])
def test_the_nearest_begins_are_found_without_a_list_of_all(zone: str) -> None:
    for text in ("* * * * *", "*/7 1-3,22 * * *", "30 2 * * sun"):
        times, place = parse_cron(text), ZoneInfo(zone)
        start = datetime(2026, 10, 3, tzinfo=place).date()
        every = {
            datetime(day.year, day.month, day.day, hour, minute, tzinfo=place).timestamp()
            for day in (start + timedelta(days=n) for n in range(4))
            if times.on(day)
            for hour in times.hours
            for minute in times.minutes
        }
        first = datetime(2026, 10, 4, tzinfo=place).timestamp()
        for wall in (first + 47 * 60 * n + 30 for n in range(30)):
            within = [moment for moment in every if wall - DAY <= moment <= wall]
            assert last_begin(times, place, wall, DAY) == max(within, default=None)
            later = min((moment for moment in every if moment > wall), default=None)
            assert next_begin(times, place, wall) == later or later is None


SUNDAY = alerts('[[alerts.maintenance]]\nstart = "30 2 * * sun"\nfor = "3h"\nwhy = "backup"')
LONG = alerts('[[alerts.maintenance]]\nstart = "0 22 31 12 *"\nfor = "3d"\nalerts = ["cpu_used_percent"]')


@pytest.mark.parametrize(
    ("given", "now", "held"),
    [
        (SUNDAY, "2026-12-06 02:29", ""),
        (SUNDAY, "2026-12-06 02:30", "2026-12-06 05:30 CET"),
        (SUNDAY, "2026-12-06 05:30", ""),
        (SUNDAY, "2026-12-05 03:00", ""),
        (SUNDAY, "2026-03-29 03:45", "2026-03-29 06:30 CEST"),  # three real hours
        (SUNDAY, "2026-10-25 04:00", "2026-10-25 04:30 CET"),  # from the first 02:30
        (SUNDAY, "2026-10-25 04:45", ""),
        (LONG, "2027-01-03 21:59", "2027-01-03 22:00 CET"),
        (LONG, "2027-01-03 22:00", ""),
    ],
)
def test_maintenance_holds_everything_back_for_real_hours(given: Alerts, now: str, held: str) -> None:
    assert until(given, at(now)) == until(given, at(now), "critical") == held


def test_a_window_for_some_alerts_leaves_the_others() -> None:
    assert until(LONG, at("2027-01-01 00:00"), rule="memory_used_percent") == ""


def test_says_its_reason() -> None:
    (window,) = quiet_plan(SUNDAY, at("2026-12-06 03:00")).windows
    assert window.because == "maintenance: backup"


@pytest.mark.parametrize(
    ("given", "now", "holds_until"),
    [
        (NIGHT, "2026-12-01 21:00", "2026-12-01 22:00 CET"),
        (NIGHT, "2026-12-01 23:00", "2026-12-02 05:00 CET"),  # not longer than FAR_SECONDS
        (NIGHT, "2026-12-02 05:00", "2026-12-02 07:00 CET"),
        (SUNDAY, "2026-12-06 02:00", "2026-12-06 02:30 CET"),
        (SUNDAY, "2026-12-06 04:00", "2026-12-06 05:30 CET"),
    ],
)
def test_a_plan_holds_until_something_opens_or_closes(given: Alerts, now: str, holds_until: str) -> None:
    assert shown(quiet_plan(given, at(now)).until) == holds_until


def test_without_any_nothing_is_held() -> None:
    assert until(alerts(""), at("2026-12-01 03:00")) == ""
    assert quiet_plan(alerts(""), 0.0).until == FAR_SECONDS


def test_the_machines_own_zone_is_used_where_none_is_named() -> None:
    given = parse('alerts.quiet = {from = "12:00", to = "13:00"}', "the test").alerts
    noon = datetime(2026, 12, 1, 12, 30).timestamp()  # noqa: DTZ001 - the machine's own zone
    assert quiet_plan(given, noon).windows and not quiet_plan(given, noon + 3600).windows
