"""A few figures over the last hour, day and week: rings of a fixed size that nothing can make grow.

The hour has every measurement; day and week have means. Reads no clock: the caller gives the time of a row. A figure
that was missing is missing in the row, not 0. Invariant: times grow within a ring, also when a clock is set back.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping
from math import inf, isnan, nan
from typing import Final

from msgspec import Struct

from ..answers.alerts import SPANS, SeriesAnswer
from ..system.clock import rfc3339

MAX_POINTS: Final = 3600
Row = Mapping[str, float | None]


class RingRecord(Struct, frozen=True):
    """The rows of a ring, oldest first: times as doubles, each figure as floats, NaN where it was missing."""

    interval_seconds: float
    times: bytes
    columns: dict[str, bytes]


class Ring:
    """Rows of figures with fixed names, of the last `span_seconds`."""

    def __init__(self, names: Iterable[str], interval_seconds: float, span_seconds: float = SPANS["1h"][0]) -> None:
        self.names = tuple(names)
        self.interval_seconds, self.span_seconds = interval_seconds, span_seconds
        self._size = max(1, min(MAX_POINTS, int(span_seconds / interval_seconds)))
        self._times = array("d", bytes(8 * self._size))
        self._columns = {name: array("f", bytes(4 * self._size)) for name in self.names}
        self._next = self._count = 0

    def add(self, wall: float, row: Row) -> None:
        """Adds a row; `wall` in seconds since 1970. Names that are not ours are passed over.

        Rows that would be later are dropped: a wrong clock made them.
        """
        while self._count and self._times[(self._next - 1) % self._size] >= wall:
            self._next, self._count = (self._next - 1) % self._size, self._count - 1
        self._times[self._next] = wall
        for name, column in self._columns.items():
            value = row.get(name)
            column[self._next] = nan if value is None else value
        self._next = (self._next + 1) % self._size
        self._count = min(self._size, self._count + 1)

    @property
    def newest(self) -> float:
        """The time of the newest row, wall seconds; -inf without one."""
        return self._times[(self._next - 1) % self._size] if self._count else -inf

    def with_interval(self, interval_seconds: float) -> Ring:
        """The same rows, the newest that fit, in a ring for another interval."""
        return self._copied(Ring(self.names, interval_seconds, self.span_seconds))

    def _copied(self, other: Ring) -> Ring:
        """Adds the rows that are later than those of `other`: a clock that was behind made the rest."""
        for index in self._order():
            if self._times[index] > other.newest:
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

    def record(self) -> RingRecord:
        """For a file."""
        order = self._order()
        columns = {n: array("f", (c[i] for i in order)).tobytes() for n, c in self._columns.items()}
        return RingRecord(self.interval_seconds, array("d", (self._times[i] for i in order)).tobytes(), columns)

    def after(self, record: RingRecord, now_wall: float) -> Ring:
        """A ring with the rows of a record, but for those that are too old or in the future, then its own.

        Raises ValueError.
        """
        other, times = Ring(self.names, self.interval_seconds, self.span_seconds), array("d", record.times)
        columns = {name: array("f", record.columns.get(name, b"")) for name in self.names}
        if any(len(column) not in (0, len(times)) for column in columns.values()):
            raise ValueError("its columns are not of one length")
        for i, wall in enumerate(times):
            if now_wall - self.span_seconds <= wall <= now_wall:
                other.add(wall, {name: _or_none(column[i]) for name, column in columns.items() if column})
        return self._copied(other)

    def _order(self) -> list[int]:
        """Where the rows are, oldest first; those that are older than the span are left out."""
        start = self._next - self._count
        found = [(start + i) % self._size for i in range(self._count)]
        oldest = self._times[found[-1]] - self.span_seconds if found else 0.0
        return [i for i in found if self._times[i] >= oldest]


class Series:
    """The rings of all spans; a row for a longer one is the mean of what was measured in its interval."""

    def __init__(self, names: Iterable[str], interval_seconds: float) -> None:
        self.names = tuple(names)
        self._rings = {
            span: Ring(self.names, max(step, interval_seconds), seconds) for span, (seconds, step) in SPANS.items()
        }
        self._sums = {span: _Mean() for span, (_, step) in SPANS.items() if step}

    @property
    def interval_seconds(self) -> float:
        """Between two measurements."""
        return self._rings["1h"].interval_seconds

    def set_interval(self, interval_seconds: float) -> None:
        """Rows come at another interval from now on."""
        for span, (_, step) in SPANS.items():
            if self._rings[span].interval_seconds != max(step, interval_seconds):
                self._rings[span] = self._rings[span].with_interval(max(step, interval_seconds))

    def add(self, wall: float, row: Row) -> None:
        """Adds a measurement; `wall` in seconds since 1970."""
        self._rings["1h"].add(wall, row)
        for span, mean in self._sums.items():
            ring = self._rings[span]
            if mean.bucket not in (None, bucket := int(wall // ring.interval_seconds)):
                ring.add(*mean.end())
            mean.add(bucket, wall, {name: row.get(name) for name in self.names})

    def answer(self, span: str) -> SeriesAnswer:
        """Columns of one of SPANS, oldest first."""
        return self._rings[span].answer()

    def record(self) -> dict[str, RingRecord]:
        """For a file."""
        return {span: ring.record() for span, ring in self._rings.items()}

    def take_up(self, record: Mapping[str, RingRecord], now_wall: float) -> None:
        """Puts what a former daemon measured before the present rows. Raises ValueError."""
        self._rings |= {
            span: self._rings[span].after(record[span], now_wall) for span in self._rings.keys() & record.keys()
        }
        for span, mean in self._sums.items():
            if mean.bucket is not None and mean.last <= self._rings[span].newest:
                mean.end()


class _Mean(Struct):
    """The rows of one interval, added up. `bucket` is the interval's number, None before the first row."""

    bucket: int | None = None
    last: float = 0.0
    sums: dict[str, tuple[float, int]] = {}

    def add(self, bucket: int, wall: float, row: Row) -> None:
        self.bucket, self.last = bucket, wall
        for name, value in row.items():
            total, count = self.sums.get(name, (0.0, 0))
            if value is not None:
                self.sums[name] = (total + value, count + 1)

    def end(self) -> tuple[float, dict[str, float | None]]:
        """When the interval's last row was, and the means; it is empty afterwards."""
        means: dict[str, float | None] = {name: total / count for name, (total, count) in self.sums.items()}
        self.bucket, self.sums = None, {}
        return self.last, means


def _or_none(value: float) -> float | None:
    return None if isnan(value) else value
