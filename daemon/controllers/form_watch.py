"""Controls one compiler: stops it for requests, pauses it, resumes it, and ends it.

It carries out what `form_pace` decides, and writes no file. Invariant: a compiler that a version waits for is stopped
only when memory is short.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

import structlog

from ..models.compiler_process import Compilation, ProcessorUsage, usage
from ..models.form_pace import (
    CompilerLimits,
    CompilerPace,
    CompilerSample,
    stands_aside,
    step,
)
from ..system.available_memory import available_bytes, capacity, memory_pressure
from ..system.clock import Clock
from ..workers.slot_files import InUse

TICK_SECONDS: Final = 1.0
ASIDE_SECONDS: Final = 0.01
"""A request waits for the compiler to stand aside for so long at most: a tenth of a short answer."""


class FormWatch:
    """See the module. `pids` are the workers' processes, `slots` the directory of the files by which they share slots,
    `urgent` whether a version waits for the form."""

    def __init__(
        self,
        work: Compilation,
        limits: CompilerLimits,
        *,
        clock: Clock,
        pids: Callable[[], Iterable[int]],
        slots: Path,
        urgent: Callable[[], bool],
    ) -> None:
        self._work, self._limits, self._clock = work, limits, clock
        self._pids, self._slots, self._urgent = pids, InUse(slots), urgent
        self._log = structlog.get_logger("forms")
        self._before: dict[int, float] = {}
        self._stood_aside = False
        self.pace = CompilerPace()

    async def run(self) -> None:
        """Returns when the compiler is gone or was ended."""
        try:
            await self._run()
        finally:
            self._slots.close()

    async def _run(self) -> None:
        cores = (await asyncio.to_thread(capacity)).processors
        await asyncio.to_thread(self._slots.refresh)
        last = self._clock.monotonic()
        while True:
            await asyncio.sleep(ASIDE_SECONDS)
            aside = not self._urgent() and stands_aside(*self._slots.now())
            self._work.stand_aside(aside)
            self._stood_aside = self._stood_aside or aside
            now = self._clock.monotonic()
            if now - last < TICK_SECONDS:
                continue
            if not await self._decide(now - last, cores):
                return
            last = now

    async def _decide(self, seconds: float, cores: float) -> bool:
        """Decides again, `seconds` after the last time; False when there is nothing to watch any more."""
        pids = tuple(self._pids())
        sampled = await asyncio.to_thread(_sample, self._work, pids, self._slots)
        if sampled is None:
            return False
        used, busy_by, available, pressure = sampled
        spent = sum(max(0.0, cpu - self._before.get(pid, cpu)) for pid, cpu in busy_by.items())
        self._before = busy_by
        sample = CompilerSample(
            now=self._clock.monotonic(),
            busy=spent / max(0.1, seconds) / cores,
            available_bytes=available,
            pressure=pressure,
            cpu_seconds=used.cpu_seconds,
            eager=used.eager or self._stood_aside,
            lines=self._work.report.lines,
        )
        self._stood_aside = False
        self._take(step(self.pace, sample, self._limits, urgent=self._urgent()))
        return self.pace.state != "given up"

    def _take(self, pace: CompilerPace) -> None:
        if pace.state != self.pace.state:
            event = {"paused": "compiler paused", "running": "compiler resumed"}.get(pace.state, "compiler given up")
            because = pace.because or "the machine has time for it"
            self._log.info(event, version=self._work.version, because=because)
        self.pace = pace
        if pace.state == "given up":
            self._work.end(pace.because)
        else:
            self._work.keep("running" if pace.state == "running" else "paused")


def _sample(
    work: Compilation, pids: Sequence[int], slots: InUse
) -> tuple[ProcessorUsage, dict[int, float], int | None, float | None] | None:
    slots.refresh()
    used = work.usage()
    if used is None:
        return None
    busy_by = {pid: found.cpu_seconds for pid in pids if (found := usage(pid)) is not None}
    return used, busy_by, available_bytes(), memory_pressure()
