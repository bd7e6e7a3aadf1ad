"""Works on the jobs on the disk, one at a time, after every request that a client waits for.

Each finished piece is on the disk before the next begins. The version of the model may change between two pieces: each
piece is recorded with its version. It must not touch the disk on the event loop. Invariants: this worker holds at most
one job; when it leaves it gives that job back; a disk without room delays a job and never ends it.
"""

from __future__ import annotations

import asyncio
import errno
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import structlog
from msgspec import Struct

from ..audio.decode import Sound
from ..audio.limits import BadAudio, Floats
from ..decoders.pool import CannotDecode
from ..inference.admission import Busy, Work
from ..inference.engine import Engine, NoModel
from ..inference.loader import LoadedVersion, SpeechModel
from ..inference.transcribe import piece_at, places_of
from ..sensevoice.transcript import Piece
from ..shared.job_directory import UnreadableJob
from ..shared.job_records import AUDIO, DONE, FAILED, PIECES, JobOutcome, JobRequest
from .piece_file import PieceDone, PiecesDone, Plan, append_line
from .store import ClaimedJob, JobStore

LOOK_SECONDS: Final = 5.0
"""How often to look for jobs that other workers accepted, or that a worker left behind."""
MODEL_SECONDS: Final = 0.5
"""The same while no model is loaded: a worker that starts continues a dead one's job as soon as it can."""
RETRY_SECONDS: Final = 5.0
"""The pause before a job is tried again that could not continue: no decoder, no room on the disk, a model that
failed.
"""
WAIT_SECONDS: Final = 30.0
"""A job that could not continue here is left to other workers for this time, so that other jobs get a turn."""
PIECE_TRIES: Final = 3
DECLARED: Final = "declared"
"""The field with the declared type of the recording."""
LATER_SECONDS: Final = 30.0
"""A piece of a job gives way to every piece of a request that comes up to this time after it."""
RELEASE_SECONDS: Final = 2.0
_NO_ROOM: Final = {errno.ENOSPC, errno.EDQUOT}
T = TypeVar("T")


class CannotGoOn(Exception):
    """The job ends as failed: `code` for programs, the text for people."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class CancelledByClient(Exception):
    """The client ended the job meanwhile."""


class JobWords(Struct, frozen=True):
    """What the routes know of a request: the language, whether to write numbers as digits, and the form of the answer.

    `read` raises CannotGoOn for what the loaded version cannot do; `shape` returns the body and its media type.
    """

    read: Callable[[JobRequest, LoadedVersion], tuple[str, bool]]
    shape: Callable[[JobRequest, dict[str, Any]], tuple[bytes, str]]


def wall() -> float:
    """Seconds since 1970, for records that outlive this process."""
    return datetime.now(UTC).timestamp()


class JobRunner:
    """All methods belong to the event loop. `max_audio_seconds` and `trim` (`speech.trim`) are called for each job.

    `ended` is called at each end with the state and the seconds of audio that were recognised.
    """

    def __init__(
        self,
        store: JobStore,
        *,
        engine: Engine,
        work: Work,
        log: structlog.typing.FilteringBoundLogger,
        words: JobWords,
        max_audio_seconds: Callable[[], float],
        trim: Callable[[], bool] = lambda: False,
        ended: Callable[[str, float], None] = lambda state, seconds: None,
    ) -> None:
        self._store, self._engine, self._work, self._log, self._words = store, engine, work, log, words
        self._max_audio_seconds, self._trim, self._ended = max_audio_seconds, trim, ended
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="jobs")
        self._wake = asyncio.Event()
        self._held: ClaimedJob | None = None
        self._waiting: dict[str, float] = {}
        self._said = ""

    @property
    def busy(self) -> bool:
        """Whether this worker works on a job."""
        return self._held is not None

    def wake(self) -> None:
        """There may be a job."""
        self._wake.set()

    async def run(self) -> None:
        """Works on jobs until cancelled; then the current job is given back."""
        try:
            while True:
                self._wake.clear()
                if not await self._one():
                    await self._pause(LOOK_SECONDS if self._engine.current is not None else MODEL_SECONDS)
        finally:
            with suppress(TimeoutError, OSError):
                async with asyncio.timeout(RELEASE_SECONDS):
                    await self._aside(self._give_back)

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()

    async def _one(self) -> bool:
        """Works on the next job. False when there is none, or it could not continue now."""
        if self._engine.current is None:
            return False
        try:
            try:
                await self._aside(self._claim)
            finally:
                for job_id, because in self._store.passed_over.items():
                    self._log.error("a job cannot be claimed; other jobs continue", job=job_id, because=because)
            if (job := self._held) is None:
                return False
            try:
                await self._work_on(job)
            except (OSError, UnreadableJob) as e:
                self._log.error("a job cannot continue; other jobs continue", job=job.request.id, because=str(e))
                self._waiting[job.request.id] = time.monotonic() + WAIT_SECONDS
            finally:
                await self._aside(self._give_back)
        except (OSError, UnreadableJob) as e:
            self._trouble(f"cannot work on jobs: {e}; they wait")
            return False
        return True

    # on the thread

    async def _aside(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _claim(self) -> None:
        # Kept here and not where it is awaited: a job that is claimed while this worker leaves is given back.
        now = time.monotonic()
        self._waiting = {job_id: until for job_id, until in self._waiting.items() if until > now}
        try:
            self._held = self._store.claim(wall(), self._waiting)
        finally:
            self._waiting.update(dict.fromkeys(self._store.passed_over, now + WAIT_SECONDS))

    def _give_back(self) -> None:
        job, self._held = self._held, None
        if job is not None:
            self._store.release(job)

    # one job

    async def _work_on(self, job: ClaimedJob) -> None:
        request = job.request
        self._log.info("job begun", job=request.id, bytes=request.bytes, pieces=len(job.done.pieces))
        try:
            outcome, answer = await self._transcribed(job)
        except CancelledByClient:
            self._log.info("job cancelled", job=request.id)
            return
        except (CannotDecode, Busy, NoModel, MemoryError) as e:
            self._log.warning("a job has to wait", job=request.id, because=str(e) or type(e).__name__)
            self._waiting[request.id] = time.monotonic() + WAIT_SECONDS
            return
        except CannotGoOn as e:
            outcome, answer = JobOutcome(FAILED, wall(), error=str(e), code=e.code), None
        except (OSError, UnreadableJob):
            raise
        except Exception:  # noqa: BLE001 - one job's fault must not stop the others; it is logged
            self._log.exception("a job failed", job=request.id)
            message = "cannot transcribe: the service failed on this recording; it goes on with others"
            outcome, answer = JobOutcome(FAILED, wall(), error=message, code="internal_error"), None
        if not await self._on_disk(partial(self._store.end, job, outcome, answer)):
            self._log.info("job cancelled", job=request.id)
            return
        self._log.info("job ended", job=request.id, state=outcome.state, code=outcome.code)
        self._ended(outcome.state, outcome.duration)

    async def _transcribed(self, job: ClaimedJob) -> tuple[JobOutcome, bytes | None]:
        audio = await self._aside(partial(_read_audio, job.directory / AUDIO))
        try:
            async with self._work.decoded(
                audio,
                max_seconds=self._max_audio_seconds(),
                counted=False,
                declared=_last(job.request, DECLARED),
                split=_last(job.request, "channels").strip().lower() == "split",
            ) as sound:
                done, truncated = await self._planned(job, sound), sound.truncated
                assert done.plan is not None
                while len(done.pieces) < len(done.plan.spans):
                    piece = piece_at(sound, done.plan.spans[len(done.pieces)])
                    done = await self._record(job, done, await self._heard(job, piece))
        except BadAudio as e:
            raise CannotGoOn(e.code, str(e)) from e
        return await self._joined(job.request, done, truncated)

    async def _planned(self, job: ClaimedJob, sound: Sound) -> PiecesDone:
        """The finished pieces, with the plan. It begins again where the plan is for other samples than a decoder gives
        now.
        """
        plan = job.done.plan
        if plan is not None and plan.samples == len(sound.samples):
            return job.done
        model = cast(SpeechModel, self._engine.take().model)
        trim = self._trim()
        places = await self._work.beside(lambda: places_of(model, sound, trim=trim), long=True)
        made = Plan(len(sound.samples), tuple(tuple(int(number) for number in place) for place in places))
        return PiecesDone(made, (), await self._appended(job, made, 0))

    async def _heard(self, job: ClaimedJob, samples: Floats) -> PieceDone:
        """The text of one piece, by the version that is served now."""
        for attempt in range(1, PIECE_TRIES + 1):
            loaded = await self._loaded()
            language, itn = self._words.read(job.request, loaded)
            model = cast(SpeechModel, loaded.model)
            options = model.options()
            recognize = partial(model.recognize, samples, language=language, itn=itn, options=options)
            try:
                piece = await self._work.infer(recognize, model.lone_threads, long=True, later_seconds=LATER_SECONDS)
                return PieceDone(loaded.version, loaded.digest, cast(Piece, piece))
            except Exception as e:  # noqa: BLE001 - a model is foreign code; the next attempt may meet another version
                self._log.error("the model failed on a piece of a job", job=job.request.id, exc_info=e)
                if attempt < PIECE_TRIES:
                    await asyncio.sleep(RETRY_SECONDS)
            finally:
                options.terminate = True
        raise CannotGoOn("model_failed", f"cannot transcribe: the model failed {PIECE_TRIES} times on one piece")

    async def _loaded(self) -> LoadedVersion:
        """The served version, also when it is on its way. Raises NoModel."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LATER_SECONDS):
                await self._engine.available()
        return self._engine.take()

    async def _record(self, job: ClaimedJob, done: PiecesDone, piece: PieceDone) -> PiecesDone:
        """Writes the piece to the disk. Raises CancelledByClient."""
        return PiecesDone(done.plan, (*done.pieces, piece), await self._appended(job, piece, done.whole_bytes))

    async def _appended(self, job: ClaimedJob, entry: Plan | PieceDone, at_bytes: int) -> int:
        """The length of the file of pieces with one more line. Raises CancelledByClient."""

        def write() -> int:
            if self._store.ended(job):
                return -1
            try:
                return append_line(job.directory / PIECES, entry, at_bytes)
            except FileNotFoundError:
                if self._store.ended(job):  # its client removed it just now
                    return -1
                raise

        size = await self._on_disk(write)
        if size < 0:
            raise CancelledByClient
        return size

    async def _joined(self, request: JobRequest, done: PiecesDone, truncated: bool) -> tuple[JobOutcome, bytes]:
        loaded, versions = self._engine.take(), done.versions()
        assert done.plan is not None
        model = cast(SpeechModel, loaded.model)
        answer = await self._work.decode(model.join, done.placed, done.plan.samples)
        if truncated:
            answer["truncated"] = True
        answer["version"] = versions[-1].version if versions else loaded.version
        shape = partial(self._words.shape, request, {**answer, "versions": versions})
        body, kind = await self._work.beside(shape, long=True)
        text, duration = str(answer["text"]), float(answer["duration"])
        return JobOutcome(DONE, wall(), duration, text, versions, kind, truncated=truncated), body

    async def _on_disk(self, work: Callable[[], T]) -> T:
        """The result of `work`, tried again while the disk has no room. Raises OSError for anything else."""
        while True:
            try:
                done = await self._aside(work)
                self._said = ""
                return done
            except OSError as e:
                if e.errno not in _NO_ROOM:
                    raise
                self._trouble(f"cannot record a job's progress: {e.strerror}; it waits for room")
            await asyncio.sleep(RETRY_SECONDS)

    def _trouble(self, sentence: str) -> None:
        if sentence != self._said:
            self._log.error(sentence)
        self._said = sentence


def _last(request: JobRequest, name: str) -> str:
    """The last of a form's fields with this name, "" where there is none."""
    return (request.fields.get(name) or [""])[-1]


def _read_audio(path: Path) -> bytearray:
    """The recording. Raises CannotGoOn where there is none, OSError."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        raise CannotGoOn("audio_lost", "cannot transcribe: the recording is gone from the disk") from None
    with open(fd, "rb", buffering=0) as file:
        data = bytearray(os.fstat(fd).st_size)
        view, at = memoryview(data), 0
        while at < len(data) and (read := file.readinto(view[at:])):
            at += read
        view.release()
        del data[at:]
    return data
