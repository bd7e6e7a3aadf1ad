"""When repeated local times begin, in a time zone with daylight saving time. Pure.

A begin in an hour that the clock skips moves by that hour. A begin in an hour that comes twice counts once, the first
time.
"""

from __future__ import annotations

import zoneinfo
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Final

from ..units import DAY, HOUR
from .cron import CronTimes

CLOCK_SECONDS: Final = 4 * HOUR
"""More than a clock is ever changed by, and an hour."""


def zone_of(name: str) -> zoneinfo.ZoneInfo | None:
    """The time zone, which the configuration's check has loaded; None for the machine's own."""
    return zoneinfo.ZoneInfo(name) if name else None


def last_begin(times: CronTimes, zone: zoneinfo.ZoneInfo | None, wall: float, within: float) -> float | None:
    """The last begin that is not later than `wall`, at most `within` seconds ago."""
    begin = last_begin_of_day(times, zone, wall, within)
    return None if begin is None else begin[1]


def last_begin_of_day(
    times: CronTimes, zone: zoneinfo.ZoneInfo | None, wall: float, within: float
) -> tuple[date, float] | None:
    """Its date as configured, and its moment: the clock may have left it out, and so put it on another hour or day."""
    day = local_time(wall, zone).date() + timedelta(days=1)  # a begin is never a day away from its date
    for _ in range(int(within // DAY) + 3):
        found = max((moment for moment in _begins(times, zone, day, wall, -1) if moment <= wall), default=None)
        if found is not None:
            return (day, found) if wall - found <= within else None
        day -= timedelta(days=1)
    return None


def next_begin(times: CronTimes, zone: zoneinfo.ZoneInfo | None, wall: float) -> float | None:
    """The next begin after `wall`, if it is within two days."""
    day = local_time(wall, zone).date()
    for later in range(3):
        begins = _begins(times, zone, day + timedelta(days=later), wall, 1)
        found = min((moment for moment in begins if moment > wall), default=None)
        if found is not None:
            return found
    return None


def _begins(times: CronTimes, zone: zoneinfo.ZoneInfo | None, day: date, wall: float, way: int) -> Iterator[float]:
    """The begins of a day that may be the nearest after `wall` (`way` 1) or before it (-1): some hours of them.

    An hour is passed over when it lies wholly on the other side of `wall`, or behind one that was found on this side.
    CLOCK_SECONDS lie between, because a changed clock puts moments out of order.
    """
    if not times.on(day):
        return
    found: float | None = None
    for hour in times.hours[::way]:
        first = local_moment(day, hour, 0, zone)
        if way * (first - wall) < -CLOCK_SECONDS:
            continue
        if found is not None and way * (first - found) > CLOCK_SECONDS:
            return
        for minute in times.minutes:
            moment = local_moment(day, hour, minute, zone)
            if found is None and (moment > wall if way > 0 else moment <= wall):
                found = moment
            yield moment


def local_time(wall: float, zone: zoneinfo.ZoneInfo | None) -> datetime:
    """A moment by the clocks of the zone."""
    return datetime.fromtimestamp(wall, zone)


def local_moment(day: date, hour: int, minute: int, zone: zoneinfo.ZoneInfo | None) -> float:
    """Wall seconds of a local time, without a zone by the machine's own; the first one of two."""
    return datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone).timestamp()
