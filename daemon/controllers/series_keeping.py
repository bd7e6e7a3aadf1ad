"""Keeps the series of the charts and the counts of each version over a restart: reads them at the start, writes them
rarely and at the end.

Rarely, for the sake of memory cards: a crash costs what was measured since. A file that cannot be read or written is
logged once and stops nothing else. Invariants: the file is read and written on a thread, one at a time. Neither is done
while the wall clock is not trusted. Nothing is written before the file was read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import structlog
from msgspec import Struct

from ..health import series_file
from ..health.series import RingRecord, Series
from ..system.background import here
from ..system.clock import Clock
from ..workers.traffic import AnswerCounts, Traffic

WRITE_SECONDS: Final = 900.0
CLOCK_SECONDS: Final = 60.0
"""Until the next try while the wall clock is not trusted."""


class SeriesRecord(Struct, frozen=True):
    """What is in the file. `versions` are counted since `began`, wall seconds."""

    rings: dict[str, RingRecord]
    versions: dict[str, AnswerCounts]
    began: float


class SeriesKeeping:
    """A controller of a round; see the module. `series` gives what is to be kept; `clock_trouble` reads the clocks and
    returns why the wall clock is not trusted, "" when it is.
    """

    name = "series"

    def __init__(
        self,
        path: Path,
        series: Callable[[], Series],
        traffic: Traffic,
        clock: Clock,
        clock_trouble: Callable[[], Awaitable[str]],
    ) -> None:
        self._path, self._series, self._traffic, self._clock = path, series, traffic, clock
        self._clock_trouble, self._began, self._recalled = clock_trouble, clock.monotonic(), False
        self._log = structlog.get_logger("series")
        self._due: float | None = None
        self._busy: asyncio.Task[None] | None = None
        self._because = self._distrust = ""

    async def ensure(self) -> None:
        now = self._clock.monotonic()
        if (self._due is not None and now < self._due) or (self._busy is not None and not self._busy.done()):
            return
        self._due = now + WRITE_SECONDS
        self._busy = here().start("series in the state", self._step)

    def next_due(self) -> float | None:
        """None while the file is read or written: a disk that hangs must not make rounds follow one another."""
        return self._due if self._busy is None or self._busy.done() else None

    async def stop(self) -> None:
        """Writes once more; not where nothing was read, or where a disk that hangs has the last time still."""
        if self._busy is not None and self._busy.done() and self._recalled and await self._trusted():
            await self._write()

    async def _step(self) -> None:
        if not await self._trusted():
            self._due = self._clock.monotonic() + CLOCK_SECONDS
        elif self._recalled:
            await self._write()
        else:
            await self._recall()

    async def _trusted(self) -> bool:
        """Whether the wall clock is; that it is not is logged once."""
        because = await self._clock_trouble()
        if because and not self._distrust:
            self._log.warning("the series of the charts are neither read nor written for now", because=because)
        self._distrust = because
        return not because

    async def _recall(self) -> None:
        """Takes up what a former daemon measured."""
        self._traffic.began = self._clock.wall() - (self._clock.monotonic() - self._began)  # the clock may be set since
        try:
            if kept := await asyncio.to_thread(series_file.read, self._path, SeriesRecord):
                self._series().take_up(kept.rings, self._clock.wall())
                self._traffic.take_up(kept.versions, kept.began)
        except (OSError, ValueError) as e:
            said = "cannot read the series of the charts; they begin anew"
            self._log.warning(said, path=str(self._path), because=str(e))
        self._recalled = True

    async def _write(self) -> None:
        kept = SeriesRecord(self._series().record(), dict(self._traffic.versions), self._traffic.began)
        try:
            await asyncio.to_thread(series_file.write, self._path, kept)
            because = ""
        except OSError as e:
            because = e.strerror or str(e)
        if because and because != self._because:
            self._log.error("cannot write the series of the charts", path=str(self._path), because=because)
        self._because = because
