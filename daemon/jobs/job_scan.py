"""Reads the jobs on the disk: counts them, removes those that are over, finds callbacks that are due. For a thread.

It must not begin or end a job: the workers do that. Invariant: it never removes a job that has not ended, and it
removes none while the clock is not believed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import Final

import msgspec
from msgspec import Struct

from ...worker.shared import job_directory as files
from ...worker.shared.job_directory import JobDirectory, UnreadableJob
from ...worker.shared.job_records import (
    ANSWER,
    CALLBACK,
    CLAIM,
    ENDED,
    OUTCOME,
    PIECES,
    STATES,
    CallbackRecord,
    JobOutcome,
    JobRequest,
    JobSeen,
    job_as_json,
)
from .callback_planner import GIVEN_UP, WAITING, is_due
from .jobs_seen import Marks

MODE: Final = 0o750
MAX_BODY_BYTES: Final = 1 << 20
"""A callback with a longer result is sent without it, and its receiver fetches the result."""


class JobsFound(Struct, frozen=True):
    """The result of one reading. `due` are jobs whose end has to be reported now, first those with the fewest tries,
    then the oldest.
    """

    counts: dict[str, int]
    bytes: int
    marks: Marks
    due: tuple[JobRequest, ...] = ()
    callbacks_waiting: int = 0
    callbacks_given_up: int = 0
    removed: int = 0
    unreadable: str = ""


class JobScan:
    """The jobs in the directory at `path`."""

    def __init__(self, path: Path) -> None:
        self.directory = JobDirectory(str(path))
        self._callback_trouble = self._disk_trouble = ""
        self._stripped: set[str] = set()  # ended jobs that hold only their result
        self._settled: dict[str, bool] = {}  # finished callbacks by id: whether they were given up
        self._unwritten: dict[str, CallbackRecord] = {}  # what the disk has not taken yet
        self._writing = Lock()

    def run(self, now: float, keep_seconds: float, *, clock_trouble: str = "") -> JobsFound:
        """Reads the jobs once; `now` is wall seconds. Raises OSError."""
        directory = self.directory
        directory.path.mkdir(mode=MODE, exist_ok=True)  # if another program removed it, the workers are replaced
        jobs = directory.jobs()
        self._disk_trouble = ""
        removed = 0 if clock_trouble else self._remove(jobs, now, keep_seconds)
        self._tidy()
        jobs = directory.jobs() if removed else jobs
        self._strip({job.request.id for job in jobs if job.state in ENDED})
        counts = Counter(dict.fromkeys(STATES, 0))
        counts.update(job.state for job in jobs)
        due, waiting = self._callbacks([job for job in jobs if job.state in ENDED and job.request.callback], now)
        unreadable = next(iter(directory.unreadable.values()), "") or self._callback_trouble or self._disk_trouble
        return JobsFound(
            dict(counts),
            directory.usage().bytes,
            frozenset(self._marks(jobs)),
            tuple(due),
            waiting,
            sum(self._settled.values()),
            removed,
            unreadable,
        )

    def _remove(self, jobs: list[JobSeen], now: float, keep_seconds: float) -> int:
        removed = 0
        for job in jobs:
            outcome = self.directory.outcome(job.request.id) if job.state in ENDED else None
            if outcome is not None and now - outcome.finished > keep_seconds:
                with self._of_one_job(job.request.id):
                    self.directory.remove(job.request.id)
                    removed += 1
        return removed + sum(self._remove_unreadable(name, now, keep_seconds) for name in self.directory.unreadable)

    def _remove_unreadable(self, job_id: str, now: float, keep_seconds: float) -> bool:
        """Removes a job that cannot be read and is old enough; returns whether it did.

        No client can see such a job, and no worker takes it. The age of its directory is that of its last record. A job
        that only the disk cannot give now may be readable later, and stays.
        """
        try:
            self.directory.job(job_id)
            return False
        except OSError:
            return False
        except UnreadableJob:
            pass
        with suppress(FileNotFoundError):
            changed = self.directory.of(job_id).stat().st_mtime
            if now - changed > keep_seconds and not self.directory.is_locked(job_id):
                self.directory.remove(job_id)
                return True
        return False

    def _tidy(self) -> None:
        with self._of_one_job("what was removed before"):
            self.directory.tidy()

    def _strip(self, ended: set[str]) -> None:
        self._stripped &= ended
        for job_id in ended - self._stripped:
            with self._of_one_job(job_id):
                if self.directory.strip(job_id):
                    self._stripped.add(job_id)

    @contextmanager
    def _of_one_job(self, job: str) -> Iterator[None]:
        """What the disk does not let go of one job keeps no other from being looked at; the next look tries again."""
        try:
            yield
        except OSError as e:
            if e.errno not in files.OF_ONE_JOB:
                raise
            self._disk_trouble = f"cannot remove the files of {job}: {e.strerror}"

    def _marks(self, jobs: list[JobSeen]) -> list[tuple[str, int]]:
        found = []
        for job in jobs:
            if job.state in ENDED:
                found.append((job.request.id, -1))
            elif job.claimed:
                with suppress(OSError):
                    found.append((job.request.id, (self.directory.of(job.request.id) / PIECES).stat().st_size))
                with suppress(OSError):
                    found.append((job.request.id, (self.directory.of(job.request.id) / CLAIM).stat().st_mtime_ns))
        return found

    def _callbacks(self, jobs: list[JobSeen], now: float) -> tuple[list[JobRequest], int]:
        """The callbacks that are due, and how many wait in all."""
        here = {job.request.id for job in jobs}
        self._write_again(here)
        self._settled = {job_id: given_up for job_id, given_up in self._settled.items() if job_id in here}
        due: list[tuple[int, float, JobRequest]] = []
        waiting, self._callback_trouble = 0, ""
        for job in jobs:
            if job.request.id in self._settled:
                continue
            try:
                record = self.record(job.request.id)
            except OSError as e:
                waiting += 1
                self._callback_trouble = f"cannot read what was reported of {job.request.id}: {e.strerror or e}"
                continue
            if record.state != WAITING:
                self._settled[job.request.id] = record.state == GIVEN_UP
                continue
            waiting += 1
            if is_due(record, now):
                due.append((record.tries, job.request.created, job.request))
        return [request for *_, request in sorted(due, key=lambda item: item[:2])], waiting

    def _write_again(self, here: set[str]) -> None:
        """Writes records that the disk did not take before, of jobs that still exist."""
        for job_id in list(self._unwritten):
            if job_id not in here:
                self._unwritten.pop(job_id, None)
                continue
            with self._writing:
                if (record := self._unwritten.get(job_id)) is not None:
                    with suppress(OSError):  # it was logged at the first try
                        self._write(job_id, record)

    def record(self, job_id: str) -> CallbackRecord:
        """The record of a job's callback; a new one where it cannot be read. Raises OSError."""
        if (unwritten := self._unwritten.get(job_id)) is not None:
            return unwritten
        try:
            return self.directory.callback(job_id)
        except UnreadableJob:
            return CallbackRecord()

    def keep(self, job_id: str, record: CallbackRecord) -> None:
        """Writes the record of a callback. Raises OSError; then the record counts from memory until it is written."""
        with self._writing:
            self._unwritten[job_id] = record
            self._write(job_id, record)

    def _write(self, job_id: str, record: CallbackRecord) -> None:
        if self.directory.of(job_id).is_dir():
            files.replace(self.directory.of(job_id) / CALLBACK, msgspec.json.encode(record))
        self._unwritten.pop(job_id, None)

    def body(self, request: JobRequest, keep_seconds: float) -> bytes:
        """What the receiver gets: the job as its client sees it. Raises OSError, UnreadableJob."""
        here = self.directory.of(request.id)
        outcome = files.read_record(here / OUTCOME, JobOutcome)
        if outcome is None:
            raise UnreadableJob(f"cannot report the job {request.id}: it was removed")
        answer: object = None
        if (data := files.read_bytes(here / ANSWER, 1 << 30)) is not None and len(data) <= MAX_BODY_BYTES:
            is_json = outcome.answer_type.startswith("application/json")
            answer = msgspec.Raw(data) if is_json else data.decode("utf-8", "replace")
        shape = job_as_json(request, outcome.state, outcome=outcome, answer=answer, keep_seconds=keep_seconds)
        return msgspec.json.encode(shape)
