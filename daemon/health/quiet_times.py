"""When messages wait: maintenance windows and quiet hours in a time zone, with daylight saving time.

Pure. A window begins at a local time and lasts real seconds; quiet hours end at a local time. A begin in an hour that
the clock skips moves by that hour. A begin in an hour that comes twice counts once, the first time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date, datetime, timedelta
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from ..config.cron import CronTimes, clock_time, daily, parse
from ..config.schema_alerts import Alerts, MaintenanceWindow
from ..units import DAY, HOUR
from .mutes import named

FAR_SECONDS: Final = 6 * HOUR
"""A plan holds so long at most, also when nothing opens or closes."""
CLOCK_SECONDS: Final = 4 * HOUR
"""More than a clock is ever changed by, and an hour."""
PASSES: Final = "critical"


class OpenWindow(NamedTuple):
    """A window that is open now: the alerts that it holds back (none named: all), whether critical ones pass, its end,
    and the reason.
    """

    names: tuple[str, ...]
    passes: bool
    until: float
    because: str

    def holds(self, rule: str, fingerprint: str, severity: str) -> bool:
        if self.passes and severity == PASSES:
            return False
        return not self.names or any(named(name, rule, fingerprint) for name in self.names)


class QuietPlan(NamedTuple):
    """The windows that are open from `since` to `until`, wall seconds; then it has to be made anew."""

    windows: tuple[OpenWindow, ...] = ()
    since: float = 0.0
    until: float = 0.0

    def held_by(self, rule: str, fingerprint: str, severity: str) -> OpenWindow | None:
        """The window that holds this alert back and closes last; None: it may be sent."""
        found = [window for window in self.windows if window.holds(rule, fingerprint, severity)]
        return max(found, key=lambda window: window.until, default=None)


def quiet_plan(alerts: Alerts, wall: float) -> QuietPlan:
    """What is open now."""
    zone = zone_of(alerts.time_zone)
    found = [window for entry in alerts.maintenance if (window := maintenance(entry, zone, wall)) is not None]
    if (quiet := quiet_hours(alerts, zone, wall)) is not None:
        found.append(quiet)
    return QuietPlan(tuple(found), wall, min([wall + FAR_SECONDS, *_changes(alerts, zone, found, wall)]))


def zone_of(name: str) -> ZoneInfo | None:
    """The time zone, which the configuration's check has loaded; None for the machine's own."""
    return ZoneInfo(name) if name else None


def clock_text(wall: float, zone: ZoneInfo | None) -> str:
    """A moment within about a day, as text for people."""
    return _local(wall, zone).strftime("%d %b %H:%M")


def maintenance(entry: MaintenanceWindow, zone: ZoneInfo | None, wall: float) -> OpenWindow | None:
    """The window that is open now."""
    began = last_begin(parse(entry.start), zone, wall, entry.for_)
    if began is None or wall >= began + entry.for_:
        return None
    return OpenWindow(entry.alerts, False, began + entry.for_, f"maintenance{f': {entry.why}' if entry.why else ''}")


def quiet_hours(alerts: Alerts, zone: ZoneInfo | None, wall: float) -> OpenWindow | None:
    """The quiet hours that have begun and not ended."""
    quiet = alerts.quiet
    if not quiet.from_ or not quiet.to:
        return None
    hour, minute = clock_time(quiet.from_)
    times = parse(f"{minute} {hour} * * {','.join(quiet.days) or '*'}")
    begin = _last(times, zone, wall, DAY + 2 * HOUR)
    if begin is None:
        return None
    day, _ = begin
    if quiet.to <= quiet.from_:  # by the clock as configured: it may have left out the begin of this very day
        day += timedelta(days=1)
    until = _moment(day, *clock_time(quiet.to), zone)
    return OpenWindow((), True, until, "quiet hours") if wall < until else None


def last_begin(times: CronTimes, zone: ZoneInfo | None, wall: float, within: float) -> float | None:
    """The last begin that is not later than `wall`, at most `within` seconds ago."""
    begin = _last(times, zone, wall, within)
    return None if begin is None else begin[1]


def _last(times: CronTimes, zone: ZoneInfo | None, wall: float, within: float) -> tuple[date, float] | None:
    """Its date as configured, and its moment: the clock may have left it out, and so put it on another hour or day."""
    day = _local(wall, zone).date() + timedelta(days=1)  # a begin is never a day away from its date
    for _ in range(int(within // DAY) + 3):
        found = max((moment for moment in _begins(times, zone, day, wall, -1) if moment <= wall), default=None)
        if found is not None:
            return (day, found) if wall - found <= within else None
        day -= timedelta(days=1)
    return None


def next_begin(times: CronTimes, zone: ZoneInfo | None, wall: float) -> float | None:
    """The next begin after `wall`, if it is within two days."""
    day = _local(wall, zone).date()
    for later in range(3):
        begins = _begins(times, zone, day + timedelta(days=later), wall, 1)
        found = min((moment for moment in begins if moment > wall), default=None)
        if found is not None:
            return found
    return None


def _begins(times: CronTimes, zone: ZoneInfo | None, day: date, wall: float, way: int) -> Iterator[float]:
    """The begins of a day that may be the nearest after `wall` (`way` 1) or before it (-1): some hours of them.

    An hour is passed over when it lies wholly on the other side of `wall`, or behind one that was found on this side:
    with CLOCK_SECONDS between, because a changed clock puts moments out of order.
    """
    if not times.on(day):
        return
    found: float | None = None
    for hour in times.hours[::way]:
        first = _moment(day, hour, 0, zone)
        if way * (first - wall) < -CLOCK_SECONDS:
            continue
        if found is not None and way * (first - found) > CLOCK_SECONDS:
            return
        for minute in times.minutes:
            moment = _moment(day, hour, minute, zone)
            if found is None and (moment > wall if way > 0 else moment <= wall):
                found = moment
            yield moment


def _changes(alerts: Alerts, zone: ZoneInfo | None, windows: Iterable[OpenWindow], wall: float) -> Iterator[float]:
    """When a window may open or close next."""
    yield from (window.until for window in windows)
    times = [parse(entry.start) for entry in alerts.maintenance]
    times += [daily(alerts.quiet.from_)] if alerts.quiet.from_ else []
    for each in times:
        moment = next_begin(each, zone, wall)
        if moment is not None:
            yield moment


def _local(wall: float, zone: ZoneInfo | None) -> datetime:
    return datetime.fromtimestamp(wall, zone)


def _moment(day: date, hour: int, minute: int, zone: ZoneInfo | None) -> float:
    """Wall seconds of a local time, without a zone by the machine's own; the first one of two."""
    return datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone).timestamp()
