"""When messages wait: maintenance windows and quiet hours in a time zone, with daylight saving time.

Pure. A window begins at a local time and lasts real seconds; quiet hours end at a local time. A begin in an hour that
the clock skips moves by that hour. A begin in an hour that comes twice counts once, the first time.
"""

from __future__ import annotations

import zoneinfo
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Final, NamedTuple

from ..config.cron import clock_time, daily, parse
from ..config.local_times import last_begin, last_begin_of_day, local_moment, local_time, next_begin, zone_of
from ..config.schema_alerts import Alerts, MaintenanceWindow
from ..units import DAY, HOUR
from .mutes import named

FAR_SECONDS: Final = 6 * HOUR
"""A plan holds so long at most, also when nothing opens or closes."""
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


def clock_text(wall: float, zone: zoneinfo.ZoneInfo | None) -> str:
    """A moment within about a day, as text for people."""
    return local_time(wall, zone).strftime("%d %b %H:%M")


def maintenance(entry: MaintenanceWindow, zone: zoneinfo.ZoneInfo | None, wall: float) -> OpenWindow | None:
    """The window that is open now."""
    began = last_begin(parse(entry.start), zone, wall, entry.for_)
    if began is None or wall >= began + entry.for_:
        return None
    return OpenWindow(entry.alerts, False, began + entry.for_, f"maintenance{f': {entry.why}' if entry.why else ''}")


def quiet_hours(alerts: Alerts, zone: zoneinfo.ZoneInfo | None, wall: float) -> OpenWindow | None:
    """The quiet hours that have begun and not ended."""
    quiet = alerts.quiet
    if not quiet.from_ or not quiet.to:
        return None
    hour, minute = clock_time(quiet.from_)
    times = parse(f"{minute} {hour} * * {','.join(quiet.days) or '*'}")
    begin = last_begin_of_day(times, zone, wall, DAY + 2 * HOUR)
    if begin is None:
        return None
    day, _ = begin
    if quiet.to <= quiet.from_:  # by the clock as configured: it may have left out the begin of this very day
        day += timedelta(days=1)
    until = local_moment(day, *clock_time(quiet.to), zone)
    return OpenWindow((), True, until, "quiet hours") if wall < until else None


def _changes(
    alerts: Alerts, zone: zoneinfo.ZoneInfo | None, windows: Iterable[OpenWindow], wall: float
) -> Iterator[float]:
    """When a window may open or close next."""
    yield from (window.until for window in windows)
    times = [parse(entry.start) for entry in alerts.maintenance]
    times += [daily(alerts.quiet.from_)] if alerts.quiet.from_ else []
    for each in times:
        moment = next_begin(each, zone, wall)
        if moment is not None:
            yield moment
