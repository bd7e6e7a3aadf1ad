"""What the routes do with jobs: accept one, show one, cancel one. Threads use the disk, for a bounded time.

The routes decide which client may see a job. Invariant: a request never waits longer than DISK_SECONDS for the disk.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from msgspec import Struct

from ..shared.job_directory import read_bytes, read_record
from ..shared.job_records import (
    ANSWER,
    OUTCOME,
    PIECES,
    QUEUED,
    JobOutcome,
    JobProgress,
    JobRequest,
    JobSeen,
    position,
)
from .listing import ListedJob, newest_of, places_of
from .piece_file import read_pieces
from .runner import wall
from .store import JobStore, NotTaken, StoreLimits

DISK_SECONDS: Final = 30.0
THREADS: Final = 3
MOST_WAITING: Final = 64
"""Requests for jobs that wait for the disk; further ones are refused."""
MOST_KNOWN: Final = 64
"""Jobs whose progress is kept in memory."""
MAX_ANSWER_BYTES: Final = 256 << 20
T = TypeVar("T")


class DiskBusy(Exception):
    """The disk does not answer in time, or too many requests wait for it."""


class JobView(Struct, frozen=True):
    """A job as it is now.

    `place` is its position among those that wait; `answer_bytes` is its result's size, -1 where there is none.
    """

    seen: JobSeen
    place: int = 0
    progress: JobProgress = JobProgress()
    outcome: JobOutcome | None = None
    answer_bytes: int = -1


class JobAccess:
    """See the module. `wake` is called when a job was accepted."""

    def __init__(self, path: str, wake: Callable[[], None]) -> None:
        self._store, self._wake = JobStore(path), wake
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="job requests")
        self._waiting = 0
        self._known: dict[str, tuple[int, JobProgress]] = {}

    async def accept(
        self,
        data: bytes | bytearray,
        fields: Mapping[str, Sequence[str]],
        limits: StoreLimits,
        *,
        client: str,
        owner: str,
        callback: str,
    ) -> JobRequest:
        """Accepts a job and returns it once it is safe. Raises NotTaken, DiskBusy. After DiskBusy the job may exist or
        not.
        """
        accept = partial(
            self._store.accept,
            fields=fields,
            limits=limits,
            now=wall(),
            client=client,
            owner=owner,
            callback=callback,
        )
        held = [data]
        del data
        try:
            request = await self._aside(partial(_take, accept, held))
        finally:
            held.clear()  # what no thread has begun is not kept in memory, and not accepted later
        self._wake()
        return request

    async def view(self, job_id: str) -> JobView | None:
        """The job; None where there is none. Raises DiskBusy, OSError, UnreadableJob."""
        return await self._aside(partial(self._view, job_id))

    async def listed(self, owner: str, *, most: int, after: str = "") -> tuple[list[ListedJob], bool]:
        """The newest jobs of an owner, and whether there are more. Raises UnknownJob, DiskBusy, OSError,
        UnreadableJob."""
        return await self._aside(partial(self._listed, owner, most, after))

    async def answer(self, job_id: str) -> bytes | None:
        """A result; None where there is none. Raises DiskBusy, OSError, UnreadableJob."""
        return await self._aside(partial(read_bytes, self._store.directory.of(job_id) / ANSWER, MAX_ANSWER_BYTES))

    async def request(self, job_id: str) -> JobRequest | None:
        """The request of a job; None where there is none. Raises DiskBusy, OSError, UnreadableJob."""
        seen = await self._aside(partial(self._store.directory.job, job_id))
        return seen.request if seen is not None else None

    async def cancel(self, job_id: str) -> bool:
        """Whether there was such a job. Raises DiskBusy, OSError, UnreadableJob."""
        return await self._aside(partial(self._store.cancel, job_id, wall()))

    def close(self) -> None:
        """Starts nothing more; work that has begun continues."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _view(self, job_id: str) -> JobView | None:
        directory = self._store.directory
        seen = directory.job(job_id)
        if seen is None:
            return None
        here = directory.of(job_id)
        if directory.outcome(job_id) is not None:
            outcome = read_record(here / OUTCOME, JobOutcome)
            return JobView(seen, outcome=outcome, answer_bytes=_size(here / ANSWER))
        place = position(job_id, directory.jobs()) if seen.state == QUEUED else 0
        return JobView(seen, place, self._progress(job_id, here / PIECES))

    def _listed(self, owner: str, most: int, after: str) -> tuple[list[ListedJob], bool]:
        jobs = self._store.directory.jobs()
        found, more = newest_of(jobs, owner, most=most, after=after)
        places = places_of(jobs)
        outcomes = [self._store.directory.outcome(job.request.id) for job in found]
        return [
            ListedJob(job, places.get(job.request.id, 0), outcome) for job, outcome in zip(found, outcomes, strict=True)
        ], more

    def _progress(self, job_id: str, pieces: Path) -> JobProgress:
        """How far it is. Clients ask more often than a piece is done, and the file of an hour is long."""
        try:
            size = pieces.stat().st_size
        except FileNotFoundError:
            return JobProgress()
        known = self._known.pop(job_id, None)
        if known is None or known[0] != size:
            known = size, read_pieces(pieces).progress()
        for old in list(self._known)[: max(0, len(self._known) - MOST_KNOWN + 1)]:
            self._known.pop(old, None)
        self._known[job_id] = known
        return known[1]

    async def _aside(self, work: Callable[[], T]) -> T:
        if self._waiting >= MOST_WAITING:
            raise DiskBusy(f"{self._waiting} requests wait for the disk already")
        self._waiting += 1
        job = asyncio.get_running_loop().run_in_executor(self._threads, work)
        job.add_done_callback(self._over)
        try:
            async with asyncio.timeout(DISK_SECONDS):
                return await asyncio.shield(job)
        except TimeoutError:
            raise DiskBusy(f"the disk did not answer within {DISK_SECONDS:g} s") from None

    def _over(self, job: asyncio.Future[T]) -> None:
        self._waiting -= 1
        if not job.cancelled():
            job.exception()  # the answer may not be awaited any more


def _take(accept: Callable[[bytes | bytearray], JobRequest], held: list[bytes | bytearray]) -> JobRequest:
    """Accepts what is still held. Raises NotTaken."""
    for data in held[:1]:
        return accept(data)
    raise NotTaken("its client no longer waits for it")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return -1
