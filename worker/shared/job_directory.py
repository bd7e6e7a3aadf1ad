"""The directory of transcription jobs: reads jobs, finds which are locked, removes those that are over.

For workers and the daemon; everything here may wait for a disk, so it is for threads. It must not begin or end a job.
Invariants: a job exists from the moment its directory has its name, and is whole then. A lock always ends with the
process that holds it. What a crash left half made or half removed is found by its name and removed.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, TypeVar

import msgspec
from msgspec import Struct

from .durable_files import replace_file, sync_directory, write_new
from .job_records import (
    AUDIO,
    CALLBACK,
    CLAIM,
    OUTCOME,
    PIECES,
    QUEUED,
    REQUEST,
    RUNNING,
    CallbackRecord,
    JobOutcome,
    JobRequest,
    JobSeen,
    is_id,
)
from .unreadable import UNREADABLE

COMING, GOING = ".new-", ".gone-"
"""The first character of names of directories that are no jobs yet, or no jobs any more."""
STORE_LOCK: Final = ".lock"
MAX_RECORD_BYTES: Final = 16 << 20
MOST_ENTRIES: Final = 100_000
MODE: Final = 0o600
# struct flock on 64-bit Linux: l_type, l_whence, l_start, l_len, l_pid (0 for these locks).
_FLOCK: Final = struct.Struct("hhqqi4x")
_BUSY: Final = {errno.EAGAIN, errno.EACCES}
OF_ONE_JOB: Final = {errno.EIO, errno.EUCLEAN, errno.ELOOP, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR}
"""Errors of one job only, so that the others continue. An error of the process, such as EMFILE, is not one of these."""
_READ: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
R = TypeVar("R")


class UnreadableJob(Exception):
    """A record that is damaged or cannot be read; the text names it and the reason."""


class StoreUsage(Struct, frozen=True):
    """What all jobs take, and those of one client. Directories of unfinished jobs count as jobs."""

    jobs: int = 0
    bytes: int = 0
    client_jobs: int = 0
    client_bytes: int = 0


class JobDirectory:
    """The directory at `path`. It keeps jobs that it has read: the request of a job does not change."""

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self._requests: dict[str, JobRequest] = {}
        self._outcomes: dict[str, JobOutcome] = {}
        self._sizes: dict[str, int] = {}  # of ended jobs: they do not grow
        self.unreadable: dict[str, str] = {}

    def of(self, job_id: str) -> Path:
        """A job's directory. `job_id` must be the id of one."""
        if not is_id(job_id):
            raise ValueError("not the id of a job")
        return self.path / job_id

    # reading

    def jobs(self) -> list[JobSeen]:
        """All jobs that can be read, in no order; `unreadable` has the reason for the others. Raises OSError."""
        found, here = [], set()
        for name in self._names():
            if not is_id(name):
                continue
            here.add(name)
            try:
                if (seen := self._job(name)) is not None:
                    found.append(seen)
                self.unreadable.pop(name, None)
            except UnreadableJob as e:
                self.unreadable[name] = str(e)
            except OSError as e:
                if e.errno not in OF_ONE_JOB:
                    raise
                self.unreadable[name] = f"cannot read {name}: {e.strerror}"
        for known in (self._requests, self._outcomes, self._sizes, self.unreadable):
            for name in [name for name in list(known) if name not in here]:  # other threads read too
                known.pop(name, None)
        return found

    def _names(self) -> list[str]:
        names: list[str] = []
        with os.scandir(self.path) as entries:
            for entry in entries:
                names.append(entry.name)
                if len(names) > MOST_ENTRIES:
                    raise OSError(errno.EOVERFLOW, f"more than {MOST_ENTRIES} entries")
        return names

    def job(self, job_id: str) -> JobSeen | None:
        """One job; None where there is none. Raises OSError, UnreadableJob."""
        if not (self.of(job_id) / REQUEST).exists():
            return None
        return self._job(job_id)

    def _job(self, job_id: str) -> JobSeen | None:
        """The same for a directory that exists."""
        if (request := self._requests.get(job_id)) is None:
            request = read_record(self.of(job_id) / REQUEST, JobRequest)
            if request is None or request.id != job_id:
                return None
            self._requests[job_id] = request
        if (outcome := self.outcome(job_id)) is not None:
            return JobSeen(request, outcome.state)
        claimed = (self.of(job_id) / CLAIM).exists()
        return JobSeen(request, RUNNING if claimed and self.is_locked(job_id) else QUEUED, claimed)

    def outcome(self, job_id: str) -> JobOutcome | None:
        """How a job ended; None while it has not. Raises OSError, UnreadableJob."""
        if (known := self._outcomes.get(job_id)) is None:
            known = read_record(self.of(job_id) / OUTCOME, JobOutcome)
            if known is not None:
                # The text may be long, and is read again when a client requests it.
                self._outcomes[job_id] = msgspec.structs.replace(known, text="", versions=())
        return known

    def callback(self, job_id: str) -> CallbackRecord:
        """The state of the report to its callback address. Raises OSError, UnreadableJob."""
        return read_record(self.of(job_id) / CALLBACK, CallbackRecord) or CallbackRecord()

    def usage(self, client: str = "") -> StoreUsage:
        """What everything in the directory takes, and the share of the unfinished jobs of `client`. Raises OSError."""
        jobs = total = client_jobs = client_bytes = 0
        for name in self._names():
            if not (is_id(name) or name.startswith((COMING, GOING))):
                continue
            used = self._size(name)
            jobs, total = jobs + 1, total + used
            request = self._requests.get(name)
            if client and request is not None and request.client == client:
                client_jobs, client_bytes = client_jobs + 1, client_bytes + used
        return StoreUsage(jobs, total, client_jobs, client_bytes)

    def _size(self, name: str) -> int:
        if (known := self._sizes.get(name)) is not None:
            return known
        used = _size(self.path / name)
        if name in self._outcomes and not (self.path / name / AUDIO).exists():
            self._sizes[name] = used
        return used

    # locks

    def is_locked(self, job_id: str) -> bool:
        """Whether a worker works on the job now."""
        try:
            fd = os.open(self.of(job_id) / REQUEST, _READ)
        except OSError:
            return False
        try:
            asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 1, 0)
            return bool(_FLOCK.unpack(fcntl.fcntl(fd, fcntl.F_OFD_GETLK, asked))[0] != fcntl.F_UNLCK)
        finally:
            os.close(fd)

    def lock(self, job_id: str) -> int | None:
        """A descriptor that holds the job's lock until it is closed; None while another holds it, or there is no job.

        Raises OSError.
        """
        return try_lock(self.of(job_id) / REQUEST)

    @contextmanager
    def store_locked(self) -> Iterator[bool]:
        """The lock under which room is counted and given; yields whether it was free. Raises OSError."""
        fd = try_lock(self.path / STORE_LOCK, os.O_CREAT)
        try:
            yield fd is not None
        finally:
            if fd is not None:
                os.close(fd)

    # removing

    def remove(self, job_id: str) -> None:
        """Removes a job with all that belongs to it. Raises OSError; then `tidy` removes the rest."""
        self._requests.pop(job_id, None)
        self._outcomes.pop(job_id, None)
        self._sizes.pop(job_id, None)
        going = self.path / f"{GOING}{job_id}"
        with suppress(FileNotFoundError):
            os.rename(self.of(job_id), going)
            remove_tree(going)

    def strip(self, job_id: str) -> bool:
        """Removes from an ended job what a worker left that died too early; False while a worker has it.

        Raises OSError.
        """
        lock = self.lock(job_id)
        if lock is None:
            return False
        try:
            strip(self.of(job_id))
        finally:
            os.close(lock)
        return True

    def tidy(self) -> int:
        """Removes what is half removed, and what a process left that died while it accepted a job. Returns how many of
        these.

        Raises OSError.
        """
        gone = 0
        for name in self._names():
            if name.startswith(GOING):
                remove_tree(self.path / name)
                gone += 1
            elif name.startswith(COMING):
                gone += self._remove_unless_coming(name)
        return gone

    def _remove_unless_coming(self, name: str) -> bool:
        """Removes what a dead process left. A job that is being accepted is locked as soon as it can be seen under the
        lock of the store.
        """
        with self.store_locked() as mine:
            if not mine:
                return False
            fd = try_lock(self.path / name / REQUEST)
            if fd is None and (self.path / name / REQUEST).exists():
                return False
            try:
                remove_tree(self.path / name)
            finally:
                if fd is not None:
                    os.close(fd)
        return True


def try_lock(path: Path, more_flags: int = 0) -> int | None:
    """A descriptor with the write lock on the file, until it is closed; None when it is locked or does not exist."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | more_flags, MODE)
    except FileNotFoundError:
        return None
    try:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 1, 0))
    except OSError as e:
        os.close(fd)
        if e.errno in _BUSY:
            return None
        raise
    return fd


def read_bytes(path: Path, most: int = MAX_RECORD_BYTES) -> bytes | None:
    """A file of at most `most` bytes; None where there is none. Raises OSError, UnreadableJob."""
    try:
        fd = os.open(path, _READ)
    except FileNotFoundError:
        return None
    with open(fd, "rb") as file:
        size = os.fstat(fd).st_size
        if size > most:
            raise UnreadableJob(f"cannot read {path}: larger than {most} bytes")
        return file.read(size)


def read_record(path: Path, kind: type[R]) -> R | None:
    """The record in a file; None where there is none. Raises OSError, UnreadableJob."""
    data = read_bytes(path)
    if data is None:
        return None
    try:
        return msgspec.json.decode(data, type=kind)
    except UNREADABLE as e:
        raise UnreadableJob(f"cannot read {path}: {e}") from e


def write_once(path: Path, content: bytes) -> bool:
    """Puts `content` at `path` durably, whole or not at all, unless the file exists already; False then.

    Raises OSError; then the whole file may be there all the same.
    """
    beside = _beside(path)
    try:
        write_new(beside, content, MODE)
        try:
            os.link(beside, path)
        except FileExistsError:
            return False
    finally:
        with suppress(OSError):
            os.unlink(beside)
    sync_directory(path.parent)
    return True


def replace(path: Path, content: bytes) -> None:
    """Puts `content` at `path` durably, whole or not at all; replaces an older file. Raises OSError."""
    replace_file(path, content, MODE, beside=_beside(path))


def _beside(path: Path) -> Path:
    """A name that no other writer uses: the threads of a process write too."""
    return path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(8)}")


def strip(directory: Path) -> None:
    """Removes from an ended job what only the work on it needed, the recording first. Raises OSError."""
    for name in (AUDIO, PIECES, CLAIM):
        with suppress(FileNotFoundError):
            os.unlink(directory / name)


def _size(directory: Path) -> int:
    """The size of the files directly below, as they are now; the directory itself counts little."""
    total = 0
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    total += entry.stat(follow_symlinks=False).st_size
    except (FileNotFoundError, NotADirectoryError):
        return total
    return total


def remove_tree(directory: Path) -> None:
    """Removes files first, then the directory; a job has no directories inside."""
    try:
        with os.scandir(directory) as entries:
            names = [entry.path for entry in entries]
    except FileNotFoundError:
        return
    for name in names:
        with suppress(FileNotFoundError):
            os.unlink(name)
    with suppress(FileNotFoundError):
        os.rmdir(directory)
