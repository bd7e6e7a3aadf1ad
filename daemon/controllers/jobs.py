"""Maintains transcription jobs: removes those that are over, reports ends to callback addresses,
detects a standstill.

Workers accept jobs and work on them, with or without the daemon. The disk is never read on the event loop. Invariants:
a callback that cannot be delivered delays no other; at most AT_ONCE are being sent; an attempt counts even when it
cannot be recorded on the disk.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from math import inf
from typing import Final

import structlog

from ...worker.shared.job_directory import UnreadableJob
from ...worker.shared.job_records import CallbackRecord, JobRequest
from ..config.load import Config
from ..jobs.callback_planner import GIVEN_UP, after_try, to_begin
from ..jobs.callback_sender import CallbackFailed, HostNames, deliver
from ..jobs.job_scan import JobScan, JobsFound
from ..jobs.jobs_seen import JobsSeen, StandstillClock
from ..system.background import here
from ..system.clock import Clock
from ..system.timer_thread import until_next
from ..workers.settings_of_config import jobs_dir

JOBS: Final = "jobs"
BUSY_SECONDS: Final = 2.0
"""The time between two readings while a job waits, runs or is to be reported."""
QUIET_SECONDS: Final = 30.0
"""The same while there is nothing: a daemon at rest is to wake rarely."""


class JobKeeping:
    """See the module. `clock_trouble` gives why the wall clock is not trusted, "" while it is; called on a thread."""

    name = JOBS

    def __init__(self, config: Callable[[], Config], clock: Clock, clock_trouble: Callable[[], str]) -> None:
        self._config, self._clock, self._clock_trouble = config, clock, clock_trouble
        self._log = structlog.get_logger(JOBS)
        self._scan = JobScan(jobs_dir(config()))
        self._still, self._seen = StandstillClock(), JobsSeen()
        self._task: asyncio.Task[None] | None = None
        self._sending: dict[str, tuple[JobRequest, asyncio.Task[None]]] = {}
        self._names = HostNames()
        self._said = ""

    async def ensure(self) -> None:
        """Begins, unless it has begun."""
        if self._task is None:
            self._task = here().start(JOBS, self._run, restart=True, proved_seconds=inf)

    def next_due(self) -> float | None:
        return None

    async def stop(self) -> None:
        tasks = [task for task in (self._task, *(task for _, task in self._sending.values())) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=2.0)
        self._names.close()

    def snapshot(self) -> JobsSeen:
        """The jobs as the last reading found them."""
        return self._seen

    async def _run(self) -> None:
        while True:
            try:
                await self._once()
                here().works(JOBS)
            except OSError as e:
                self._trouble(f"cannot look at the jobs: {e.strerror or e}")
            busy = self._seen.unfinished or self._seen.callbacks_waiting
            await asyncio.sleep(until_next(self._clock.monotonic(), BUSY_SECONDS if busy else QUIET_SECONDS))

    async def _once(self) -> None:
        keep, wall = self._config().jobs.keep, self._clock.wall()
        found = await asyncio.to_thread(lambda: self._scan.run(wall, keep, clock_trouble=self._clock_trouble()))
        unfinished = JobsSeen(found.counts).unfinished
        still = self._still.seconds(found.marks, unfinished, self._clock.monotonic())
        if found.removed:
            self._log.info("jobs removed: they were kept for jobs.keep", jobs=found.removed)
        self._seen = JobsSeen(
            found.counts, found.bytes, still, found.callbacks_waiting, found.callbacks_given_up, found.unreadable
        )
        self._trouble(found.unreadable)
        self._report(found)

    def _trouble(self, sentence: str) -> None:
        if sentence and sentence != self._said:
            self._log.error("jobs in trouble", because=sentence)
        self._said = sentence

    # callbacks

    def _report(self, found: JobsFound) -> None:
        for request in to_begin(found.due, [request for request, _ in self._sending.values()]):
            self._sending[request.id] = request, here().start(f"callback {request.id}", partial(self._send, request))

    async def _send(self, request: JobRequest) -> None:
        try:
            await self._tried(request)
        finally:
            self._sending.pop(request.id, None)

    async def _tried(self, request: JobRequest) -> None:
        """Tries once, and writes down what came of it."""
        config = self._config().jobs
        because, for_good = "", False
        try:
            body = await asyncio.to_thread(self._scan.body, request, config.keep)
            headers = {
                "Content-Type": "application/json",
                "User-Agent": "modelward",
                "X-Modelward-Job": request.id,
            }
            await deliver(request.callback, config.callbacks, body, headers, resolve=self._names.resolve)
        except CallbackFailed as e:
            because, for_good = str(e), e.for_good
        except UnreadableJob:
            return  # its client removed it meanwhile
        except OSError as e:
            because = f"the result cannot be read: {e.strerror or e}"
        await self._keep(request, because, for_good)

    async def _keep(self, request: JobRequest, because: str, for_good: bool) -> None:
        record = after_try(await self._record(request), because, self._clock.wall(), for_good=for_good)
        if record.state == GIVEN_UP:
            self._log.warning("a job's callback is given up", job=request.id, tries=record.tries, because=because)
        try:
            await asyncio.to_thread(self._scan.keep, request.id, record)
        except FileNotFoundError:
            return  # its client removed it meanwhile
        except OSError as e:
            reason = f"cannot write down what became of a callback: {e.strerror or e}; it is kept in memory until then"
            self._log.error(reason, job=request.id)

    async def _record(self, request: JobRequest) -> CallbackRecord:
        try:
            return await asyncio.to_thread(self._scan.record, request.id)
        except OSError as e:
            self._log.error(f"cannot read what became of a callback: {e.strerror or e}", job=request.id)
            return CallbackRecord()
