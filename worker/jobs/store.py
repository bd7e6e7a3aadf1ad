"""Accepts jobs, gives them to this worker one at a time, and ends them. Everything here is for a thread.

What is acknowledged is on the disk: a job is written and synced beside its place and gets its name last. Room is given
under one lock of all workers. Invariants: one worker at a time works on a job, the one with its lock; a job ends once,
and the first end counts.
"""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Event
from typing import Final

import msgspec
from msgspec import Struct, field

from ..shared import job_directory as files
from ..shared.durable_files import sync_directory
from ..shared.job_directory import COMING, JobDirectory, UnreadableJob
from ..shared.job_records import (
    ANSWER,
    AUDIO,
    CANCELLED,
    CLAIM,
    FAILED,
    OUTCOME,
    PIECES,
    REQUEST,
    JobClaim,
    JobOutcome,
    JobRequest,
    JobSeen,
    in_order,
)
from .deaths import next_claim, poisoned
from .piece_file import PiecesDone, read_pieces

FIELDS_BYTES: Final = 16 << 10
"""For all fields of a job together: they are kept in memory as long as the job exists."""
CLIENT_SHARE: Final = 2
"""One client gets at most one part in this many."""
LOCK_TRIES: Final = 200
LOCK_PAUSE_SECONDS: Final = 0.01
_NO_ROOM: Final = {errno.ENOSPC, errno.EDQUOT}
_never: Final = Event()


class NotTaken(Exception):
    """The job was not accepted, and nothing of it is left.

    `full`: the disk has no room. Otherwise the store or the client has too much already, or something else prevents it
    for now.
    """

    def __init__(self, because: str, *, full: bool = False) -> None:
        super().__init__(f"cannot take the job: {because}; nothing was kept")
        self.full = full


class StoreLimits(Struct, frozen=True):
    """`most_jobs` and `most_bytes` of all together. `min_free`: how much of the disk must stay free; the larger one
    counts.
    """

    most_jobs: int
    most_bytes: int
    min_free_bytes: int = 0
    min_free_fraction: float = 0.0


class ClaimedJob(Struct, eq=False):
    """A job that this worker works on. `lock` is the descriptor that holds its lock."""

    request: JobRequest
    directory: Path
    lock: int
    done: PiecesDone
    released: bool = field(default=False)


class JobStore:
    """The jobs in the directory at `path`. `worker` is the name of this worker, `run` identifies the daemon's run."""

    def __init__(self, path: str, *, worker: str = "", run: str = "") -> None:
        self.directory = JobDirectory(path)
        self._worker, self._run = worker, run
        self.passed_over: dict[str, str] = {}
        """Jobs that the last `claim` could not take, and why: their files cannot be read or written."""

    # accepting

    def accept(
        self,
        data: bytes | bytearray,
        fields: Mapping[str, Sequence[str]],
        limits: StoreLimits,
        *,
        now: float,
        client: str,
        owner: str = "",
        callback: str = "",
    ) -> JobRequest:
        """Returns the job once it is safe on the disk; `now` is wall seconds. Raises NotTaken; then nothing was
        kept.
        """
        kept = {name: list(values) for name, values in fields.items()}
        if sum(len(name) + sum(map(len, values)) for name, values in kept.items()) > FIELDS_BYTES:
            raise NotTaken(f"its fields are longer than {FIELDS_BYTES} characters together")
        job_id = f"job_{secrets.token_hex(16)}"
        request = JobRequest(job_id, now, client, owner, len(data), kept, callback)
        coming = self.directory.path / f"{COMING}{job_id}"
        lock: int | None = None
        try:
            lock = self._reserve(coming, len(data), client, limits)
            _fill(coming, data, request, lock)
            os.rename(coming, self.directory.of(job_id))
            sync_directory(self.directory.path)
        except OSError as e:
            self._forget(coming, job_id)
            raise NotTaken(e.strerror or str(e), full=e.errno in _NO_ROOM) from e
        except NotTaken:
            self._forget(coming, job_id)
            raise
        finally:
            if lock is not None:
                os.close(lock)
        return request

    def _reserve(self, coming: Path, size: int, client: str, limits: StoreLimits) -> int:
        """Creates the job's directory with its room on the disk. Returns the lock that marks it as unfinished."""
        for _ in range(LOCK_TRIES):
            with self.directory.store_locked() as mine:
                if mine:
                    self._check_room(size, client, limits)
                    os.mkdir(coming, 0o700)
                    fd = os.open(coming / AUDIO, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, files.MODE)
                    try:
                        os.posix_fallocate(fd, 0, max(1, size))
                    finally:
                        os.close(fd)
                    lock = files.try_lock(coming / REQUEST, os.O_CREAT | os.O_EXCL)
                    assert lock is not None
                    return lock
            _never.wait(LOCK_PAUSE_SECONDS)
        raise NotTaken("other jobs are being taken in")

    def _check_room(self, size: int, client: str, limits: StoreLimits) -> None:
        self.directory.jobs()  # so that the share of the client is known
        used = self.directory.usage(client)
        if used.jobs >= limits.most_jobs:
            raise NotTaken(f"there are {used.jobs} already (jobs.max_jobs)")
        if used.bytes + size > limits.most_bytes:
            raise NotTaken(f"jobs take {used.bytes} bytes of {limits.most_bytes} already (jobs.max_bytes)")
        if used.client_jobs >= max(1, limits.most_jobs // CLIENT_SHARE):
            raise NotTaken(f"{used.client_jobs} are of this client already, half of jobs.max_jobs")
        if used.client_bytes and used.client_bytes + size > limits.most_bytes // CLIENT_SHARE:
            raise NotTaken(f"this client's jobs take {used.client_bytes} bytes already, half of jobs.max_bytes")
        disk = os.statvfs(self.directory.path)
        free, whole = disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize
        if free - size < max(limits.min_free_bytes, int(whole * limits.min_free_fraction)):
            raise NotTaken("the disk would have less free space than disk.min_free", full=True)

    def _forget(self, coming: Path, job_id: str) -> None:
        """Removes a job that was not accepted. What cannot be removed now, `tidy` removes."""
        with suppress(OSError):
            # Also one that has its name already: it was not acknowledged.
            self.directory.remove(job_id)
        with suppress(OSError):
            files.remove_tree(coming)

    # working

    def claim(self, now: float, left: Collection[str] = ()) -> ClaimedJob | None:
        """The next job for this worker, locked; None when there is none.

        Jobs that may not be tried again are failed, and those with an id in `left` are skipped. A job with a fault does
        not keep others from being claimed. Raises OSError when the disk has a fault, or when no other job can be
        claimed; the same for UnreadableJob.
        """
        self.passed_over = {}
        fault: OSError | UnreadableJob | None = None
        for seen in in_order(self.directory.jobs()):
            if seen.request.id in left:
                continue
            try:
                if (claimed := self._claim(seen, now)) is not None:
                    return claimed
            except (OSError, UnreadableJob) as e:
                if isinstance(e, OSError) and e.errno in _NO_ROOM:
                    raise
                fault = fault or e
                self.passed_over[seen.request.id] = str(e)
        if fault is not None:
            raise fault
        return None

    def _claim(self, seen: JobSeen, now: float) -> ClaimedJob | None:
        job_id = seen.request.id
        lock = self.directory.lock(job_id)
        if lock is None:
            return None
        try:
            directory = self.directory.of(job_id)
            if (directory / OUTCOME).exists():  # it ended meanwhile; what is left of the work is removed
                files.strip(directory)
                os.close(lock)
                return None
            done = read_pieces(directory / PIECES)
            former = files.read_record(directory / CLAIM, JobClaim)
            claim = next_claim(former, worker=self._worker, run=self._run, pieces=len(done.pieces))
            job = ClaimedJob(seen.request, directory, lock, done)
            if because := poisoned(claim):
                message = f"cannot transcribe this recording: {because}; it is not tried again"
                self.end(job, JobOutcome(FAILED, now, error=message, code="worker_died"))
                return None
            files.replace(directory / CLAIM, msgspec.json.encode(claim))
            return job
        except BaseException:
            with suppress(OSError):
                os.close(lock)
            raise

    def release(self, job: ClaimedJob) -> None:
        """Gives a job back for another worker, or for later. If the job was ended meanwhile, the work is removed.

        Raises OSError; then it counts as if this worker died.
        """
        if job.released:
            return
        job.released = True
        try:
            if self.ended(job):
                files.strip(job.directory)
            with suppress(FileNotFoundError):
                os.unlink(job.directory / CLAIM)
        finally:
            os.close(job.lock)

    def end(self, job: ClaimedJob, outcome: JobOutcome, answer: bytes | None = None) -> bool:
        """Ends a job, with its answer, and gives it back; False when it had ended already. Raises OSError; then the job
        is as before.
        """
        try:
            if answer is not None:
                files.replace(job.directory / ANSWER, answer)
            mine = files.write_once(job.directory / OUTCOME, msgspec.json.encode(outcome))
        except FileNotFoundError:
            if not self.ended(job):
                raise
            mine = False
        if not mine and answer is not None:
            with suppress(OSError):
                os.unlink(job.directory / ANSWER)
        with suppress(OSError):
            files.strip(job.directory)
        job.released = True
        os.close(job.lock)
        return mine

    def ended(self, job: ClaimedJob) -> bool:
        """Whether the job has ended: its client cancelled it, or removed it as well."""
        return (job.directory / OUTCOME).exists() or not (job.directory / REQUEST).exists()

    # requests of a client

    def cancel(self, job_id: str, now: float) -> bool:
        """Ends a job that has not ended; removes one that has. Returns whether it existed. Raises OSError."""
        seen = self.directory.job(job_id)
        if seen is None:
            return False
        directory = self.directory.of(job_id)
        if self.directory.outcome(job_id) is not None:
            self.directory.remove(job_id)
            return True
        done = read_pieces(directory / PIECES).progress()
        outcome = JobOutcome(CANCELLED, now, done.duration, done.text, done.versions)
        try:
            files.write_once(directory / OUTCOME, msgspec.json.encode(outcome))
        except FileNotFoundError:
            if (directory / REQUEST).exists():
                raise
            return False  # another request removed it just now
        lock = self.directory.lock(job_id)
        if lock is not None:  # no worker has it: no other code will remove the recording
            try:
                files.strip(directory)
            finally:
                os.close(lock)
        return True


def _fill(coming: Path, data: bytes | bytearray, request: JobRequest, lock: int) -> None:
    fd = os.open(coming / AUDIO, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    with open(fd, "wb", buffering=0) as file:
        rest = memoryview(data)
        while rest:
            rest = rest[file.write(rest) :]
        os.ftruncate(fd, len(data))
        os.fsync(fd)
    record = msgspec.json.encode(request)
    while record:
        record = record[os.write(lock, record) :]
    os.fsync(lock)
    sync_directory(coming)
