"""The last hour of a few figures, in memory: rings of a fixed size that nothing can make grow.

Reads no clock: whoever adds a row says when. A figure that was missing is missing in the row, not 0.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping
from math import isnan, nan
from typing import Final

from ..answers.alerts import SeriesAnswer
from ..system.clock import rfc3339

HOUR_SECONDS: Final = 3600.0
MAX_POINTS: Final = 3600


class Series:
    """Rows of figures with fixed names, the newest `points` of them."""

    def __init__(self, names: Iterable[str], interval_seconds: float) -> None:
        self.names = tuple(names)
        self.interval_seconds = interval_seconds
        self._size = max(1, min(MAX_POINTS, int(HOUR_SECONDS / interval_seconds)))
        self._times = array("d", bytes(8 * self._size))
        self._columns = {name: array("d", bytes(8 * self._size)) for name in self.names}
        self._next = self._count = 0

    def add(self, wall: float, row: Mapping[str, float | None]) -> None:
        """Adds a row; `wall` in seconds since 1970. Names that are not ours are passed over."""
        self._times[self._next] = wall
        for name, column in self._columns.items():
            value = row.get(name)
            column[self._next] = nan if value is None else value
        self._next = (self._next + 1) % self._size
        self._count = min(self._size, self._count + 1)

    def with_interval(self, interval_seconds: float) -> Series:
        """The same rows, the newest that fit, in rings for another interval."""
        other = Series(self.names, interval_seconds)
        for index in self._order():
            other.add(self._times[index], {name: _or_none(c[index]) for name, c in self._columns.items()})
        return other

    def answer(self) -> SeriesAnswer:
        """Columns, oldest first: times in RFC 3339 and, for each figure, values or null."""
        order = self._order()
        return SeriesAnswer(
            self.interval_seconds,
            [rfc3339(self._times[i]) for i in order],
            {
                name: [None if isnan(column[i]) else round(column[i], 4) for i in order]
                for name, column in self._columns.items()
            },
        )

    def _order(self) -> list[int]:
        start = self._next - self._count
        return [(start + i) % self._size for i in range(self._count)]


def _or_none(value: float) -> float | None:
    return None if isnan(value) else value
