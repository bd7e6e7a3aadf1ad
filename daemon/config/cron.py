"""Repeated times in the notation of cron: minute, hour, day of the month, month, day of the week.

Pure. Each field is `*`, numbers, ranges, steps (`*/15`) and lists of these; months and days of the week also by name.
As in cron, when both days are limited either of them is enough. A time that never comes is refused.
"""

from __future__ import annotations

import re
from datetime import date
from functools import lru_cache
from typing import Final

from msgspec import Struct

RIGHT: Final = 'minute, hour, day, month and day of the week, like "30 2 * * sun" or "0 22 1 * *"'
_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_MONTH_DAYS: Final = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_CLOCK: Final = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)", re.ASCII)
_PART: Final = re.compile(r"(?:\*|([0-9a-z]+)(?:-([0-9a-z]+))?)(?:/(\d{1,2}))?", re.ASCII)
_MAX_TEXT: Final = 200


class CronTimes(Struct, frozen=True):
    """When something begins. `weekdays` count from Sunday, 0. `either`: one of the two days is enough."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    either: bool = False

    def on(self, day: date) -> bool:
        """Whether it begins at some time of this day."""
        if day.month not in self.months:
            return False
        by_month, by_week = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return by_month or by_week if self.either else by_month and by_week


@lru_cache(maxsize=64)
def parse(text: str) -> CronTimes:
    """Raises ValueError with what is wrong."""
    fields = text.lower().split()
    if len(fields) != 5 or len(text) > _MAX_TEXT:
        raise ValueError(f"it has {len(fields)} fields, not 5")
    minutes, hours = _field(fields[0], 0, 59), _field(fields[1], 0, 23)
    days, months = _field(fields[2], 1, 31), _field(fields[3], 1, 12, _MONTHS, 1)
    weekdays = {number % 7 for number in _field(fields[4], 0, 7, _DAYS)}
    either = not fields[2].startswith("*") and not fields[4].startswith("*")
    if not either and not any(day <= _MONTH_DAYS[month - 1] for month in months for day in days):
        raise ValueError("no month has that day")
    hours_of_day, minutes_of_hour = tuple(sorted(hours)), tuple(sorted(minutes))
    return CronTimes(
        minutes_of_hour, hours_of_day, frozenset(days), frozenset(months), frozenset(weekdays), either=either
    )


def _field(text: str, least: int, most: int, names: tuple[str, ...] = (), first: int = 0) -> set[int]:
    found: set[int] = set()
    for part in text.split(","):
        match = _PART.fullmatch(part)
        if match is None:
            raise ValueError(f'"{part[:20]}" cannot be read')
        low, high, step = match[1], match[2], int(match[3] or 1)
        begin = _number(low, names, first) if low else least
        end = _number(high, names, first) if high else begin if low and not match[3] else most
        if not least <= begin <= end <= most or step == 0:
            raise ValueError(f'"{part[:20]}" is out of range; {least} to {most}')
        found.update(range(begin, end + 1, step))
    return found


def _number(text: str, names: tuple[str, ...], first: int) -> int:
    if text in names:
        return names.index(text) + first
    if not text.isdigit() or len(text) > 2:
        raise ValueError(f'"{text[:20]}" cannot be read')
    return int(text)


def clock_time(text: str) -> tuple[int, int]:
    """Hour and minute of "22:30". Raises ValueError."""
    match = _CLOCK.fullmatch(text)
    if match is None:
        raise ValueError("no time of the day")
    return int(match[1]), int(match[2])


@lru_cache(maxsize=64)
def daily(text: str) -> CronTimes:
    """Each day at "22:30". Raises ValueError."""
    hour, minute = clock_time(text)
    return parse(f"{minute} {hour} * * *")
