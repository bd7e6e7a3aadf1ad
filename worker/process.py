"""One worker from its first connection to its end: puts the parts together and ends them in the right order.

It decides nothing about requests or versions. Invariant: at its end every accepted request is answered; or its drain
time is used up, and the log has the number of requests that were cut.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import socket
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Final, TypedDict

from .daemon_link import DaemonLink
from .http import jobs as job_routes
from .http.acceptor import Front
from .http.app import build_app
from .http.auth import TokenCheck
from .http.connection import ConnectionLimits as Connections
from .http.context import Service
from .http.unread_answers import Answers
from .http.upload_limits import Uploads
from .inference.admission import Work
from .inference.engine import Engine
from .inference.loader import SPEECH_KINDS, Load
from .jobs.access import JobAccess
from .jobs.runner import RELEASE_SECONDS, JobRunner
from .jobs.store import JobStore
from .protocol import SLOT_FILES, WorkerSettings
from .resident_memory import Resident
from .sandbox.worker_sandbox import Confinement
from .scheduling.model_runs import Run
from .scheduling.refusal import Refusing
from .scheduling.slots import Slots
from .settings import Terms, differing
from .shared.background import WorkerTasks
from .shared.logs import FOLLOW_SECONDS, LogFiles
from .shared.started import awaited
from .stats import Counters

SPARE_DESCRIPTORS: Final = 64
MOST_DESCRIPTORS: Final = 4096
LAST_ANSWER_SECONDS: Final = 0.5
SAMPLE_BYTES: Final = 16000 * 4  # a second of decoded audio
UPLOADS_AT_ONCE: Final = 4  # of the largest size
UNREAD_AT_ONCE: Final = 4  # answers that no client reads, of the largest upload's size
SURPLUS_UPLOADS: Final = 16  # uploads that last, besides as many as may wait
STUCK_SECONDS: Final = 10.0  # beyond the time of a request: by then an ended job is gone
CLIPS_AT_ONCE: Final = 2  # of the greatest length, decoded


class WorkLimits(TypedDict):
    """See Work."""

    queue: int
    audio_bytes: int
    clip_bytes: int
    limit_seconds: float


class UploadLimits(TypedDict):
    """See Uploads."""

    places: int
    most_bytes: int
    least_rate: int


class Process:
    """The running worker."""

    def __init__(
        self,
        settings: WorkerSettings,
        listener: socket.socket,
        load: Load,
        logs: LogFiles,
        confinement: Confinement = Confinement(),  # noqa: B008 - frozen
    ) -> None:
        self._settings, self._logs, self._confinement = settings, logs, confinement
        self._leaving, self._notice_seconds = asyncio.Event(), 0.0
        self._at_once = False
        self._counters = Counters(resident=Resident(self._mappings))
        self._engine = self._new_engine(load)
        self._aside = ThreadPoolExecutor(1, thread_name_prefix="slots")
        self._work = self._new_work()
        self._gate = TokenCheck(settings.token_file, logs.events, self._counters.changed.set)
        self._uploads = Uploads(
            **_upload_limits(settings),
            monotonic=asyncio.get_running_loop().time,
            requests=lambda: self._counters.inflight,
        )
        self._answers = Answers(_unread_bytes(settings), lambda: self._front.connections)
        self._service = self._new_service()
        self._jobs = self._job_runner() if settings.jobs_dir and settings.kind in SPEECH_KINDS else None
        self._front = self._new_front(listener)
        self._control = self._new_link()

    def _new_engine(self, load: Load) -> Engine:
        return Engine(
            load,
            gentle=self._settings.threads == 1,
            swapped=self._counters.swapped,
            quiet=lambda: self._counters.inflight == 0,
        )

    def _new_work(self) -> Work:
        return Work(
            **_work_limits(self._settings),
            slots=_slots(self._settings.slots, self._logs, self._aside),
            decoders=self._settings.slots,
            report=self._logs.events.warning,
            ran=self._ran,
            noticed=self._stuck,
            slowed=self._slowed,
        )

    def _new_service(self) -> Service:
        """What the routes work with, and the reasons for which requests are refused."""
        settings = self._settings
        refusing = Refusing(self._gate.problem, lambda: self._front.refusing(), self._work.jammed)
        self._counters.refusing = refusing.because
        self._counters.stuck = lambda: self._work.stuck
        return Service(
            settings=settings,
            engine=self._engine,
            work=self._work,
            counters=self._counters,
            logs=self._logs,
            gate=self._gate,
            draining=lambda: self._front.draining,
            leaving=lambda: self._front.leaving,
            uploads=self._uploads,
            answers=self._answers,
            refusing=refusing,
            jobs=JobAccess(settings.jobs_dir, self._wake_jobs) if settings.jobs_dir else None,
        )

    def _new_front(self, listener: socket.socket) -> Front:
        return Front(
            build_app(self._service),
            listener,
            log=self._logs.events,
            busy=lambda: self._work.load,
            able=lambda: self._engine.current is not None,
            refused=self._logs.refused,
            make_room=lambda: self._answers.make_room() or self._uploads.end_slowest(),
            limits=Connections(connections=_connections()),
        )

    def _new_link(self) -> DaemonLink:
        return DaemonLink(
            self._settings.worker_socket,
            name=self._settings.name,
            engine=self._engine,
            counters=self._counters,
            log=self._logs.events,
            listener=lambda: self._front.listener,
            terms=lambda: self._settings.terms(),
            apply=self._apply,
            reopen=self._logs.reopen,
            drain=self._leave,
            stop=self._stop,
            confinement=self._confinement,
        )

    async def run(self) -> None:
        """Serves until it is asked to leave, then leaves."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._leaving.set)
        loop.add_signal_handler(signal.SIGUSR1, self._logs.reopen)
        self._front.open()
        self._logs.events.info(
            "worker started",
            kind=self._settings.kind,
            threads=self._settings.threads,
            confinement=str(self._confinement),
        )
        control, leaving = awaited(self._control.run(), "control"), awaited(self._leaving.wait(), "leaving")
        tasks = WorkerTasks(self._logs.events)
        following = tasks.start("log files", self._follow_logs, restart=True)
        jobs = tasks.start("jobs", self._jobs.run, restart=True) if self._jobs is not None else None
        # An error in the control loop is our fault: it ends the process, which the daemon replaces.
        await asyncio.wait({control, leaving}, return_when=asyncio.FIRST_COMPLETED)
        await self._leave_jobs(jobs)
        if not self._at_once:
            await self._front.give_notice(self._notice_seconds)
            await self._drain()
        cut = self._front.cut()
        await self._control.drained()
        self._logs.events.info("worker ends", requests=self._counters.requests, cut=cut)
        self._work.close()
        control.cancel()
        leaving.cancel()
        following.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await control
        # What was given to the thread is done, or the disk does not answer: this does not wait for that.
        await asyncio.wait({loop.run_in_executor(self._aside, int)}, timeout=LAST_ANSWER_SECONDS)

    def _job_runner(self) -> JobRunner:
        settings = self._settings
        return JobRunner(
            JobStore(settings.jobs_dir, worker=settings.name, run=settings.run),
            engine=self._engine,
            work=self._work,
            log=self._logs.events,
            words=job_routes.WORDS,
            max_audio_seconds=lambda: self._settings.max_audio_seconds,
            trim=lambda: self._settings.speech_trim == "silence",
            ended=self._job_ended,
        )

    def _wake_jobs(self) -> None:
        if self._jobs is not None:
            self._jobs.wake()

    def _job_ended(self, state: str, audio_seconds: float) -> None:
        self._counters.jobs[state] += 1
        self._counters.recognised(audio_seconds)

    async def _leave_jobs(self, jobs: asyncio.Task[None] | None) -> None:
        """The current job goes back first: another worker continues it while this one answers the rest."""
        if jobs is not None:
            jobs.cancel()
            await asyncio.wait({jobs}, timeout=RELEASE_SECONDS)

    async def _follow_logs(self) -> None:
        """Also without a daemon, and when nothing is logged: a file without a name cannot be found."""
        while True:
            await asyncio.sleep(FOLLOW_SECONDS)
            self._logs.follow()

    async def _drain(self) -> None:
        self._logs.events.info("draining", inflight=self._counters.inflight)
        patient = max(0.0, self._settings.drain_seconds - LAST_ANSWER_SECONDS)
        left = await self._front.drain(patient)
        if left:
            self._logs.events.warning("cannot wait for all requests: drain time is over", left=left)
            self._work.give_up()
            await self._front.drain(LAST_ANSWER_SECONDS)

    def _apply(self, wanted: Terms, tokens: tuple[str, ...]) -> None:
        """Takes up what can change while it runs: for every request from now on, and for the end of this worker."""
        now = self._settings.with_live(wanted)
        changed = differing(self._settings, now)
        self._settings = self._service.settings = now
        self._gate.use(now.token_file, tokens)
        self._work.limit(**_work_limits(now))
        self._uploads.limit(**_upload_limits(now))
        self._answers.limit(_unread_bytes(now))
        self._logs.set_level(now.log_level)
        if changed:
            self._logs.events.info("settings taken up", changed=", ".join(changed))

    def _ran(self, run: Run) -> None:
        self._counters.ran(waited=run.began - run.asked, took=run.ended - run.asked, lone=run.threads > 1)
        self._logs.events.debug(
            "ran",
            request=run.request,
            slot=run.slot,
            threads=run.threads,
            asked=run.asked,
            began=run.began,
            ended=run.ended,
        )

    def _stuck(self) -> None:
        self._logs.events.error("a job does not end: this worker has to be replaced", stuck=self._work.stuck)
        self._counters.changed.set()

    def _slowed(self) -> None:
        self._logs.events.warning("a run of the model takes unusually long", running=self._work.runs)
        self._counters.changed.set()

    def _mappings(self) -> int:
        return current.model.mappings if (current := self._engine.current) else 1

    def _leave(self, notice_seconds: float) -> None:
        self._notice_seconds = notice_seconds
        self._leaving.set()

    def _stop(self) -> None:
        self._at_once = True
        self._leaving.set()


def _work_limits(settings: WorkerSettings) -> WorkLimits:
    return {
        "queue": settings.queue,
        "audio_bytes": int(CLIPS_AT_ONCE * settings.max_audio_seconds * SAMPLE_BYTES),
        "clip_bytes": settings.max_upload_bytes,
        "limit_seconds": settings.request_timeout_seconds + STUCK_SECONDS,
    }


def _upload_limits(settings: WorkerSettings) -> UploadLimits:
    return {
        "places": settings.queue + SURPLUS_UPLOADS,
        "most_bytes": UPLOADS_AT_ONCE * settings.max_upload_bytes,
        "least_rate": settings.min_upload_rate,
    }


def _unread_bytes(settings: WorkerSettings) -> int:
    return UNREAD_AT_ONCE * settings.max_upload_bytes


def _slots(directory: str, logs: LogFiles, aside: Executor) -> tuple[Slots, Slots, Slots]:
    paths = (os.path.join(directory, name) if directory else "" for name in SLOT_FILES)
    running, decoding, long = (Slots(path, report=logs.events.warning, aside=aside) for path in paths)
    return running, decoding, long


def _connections() -> int:
    """How many connections this process may hold, after it raised its own limit of descriptors."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MOST_DESCRIPTORS)
    if 0 <= soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        soft = most
    return max(16, min(Connections().connections, soft - SPARE_DESCRIPTORS))
