"""The worker's whole HTTP side on a real port, in a thread of the test, with a model that the test controls."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
from tests import asking
from tests.support import PATIENCE_SECONDS

from modelward.worker.http.acceptor import Front
from modelward.worker.http.app import build_app
from modelward.worker.http.auth import TokenCheck
from modelward.worker.http.connection import ConnectionLimits
from modelward.worker.http.context import Service
from modelward.worker.http.unread_answers import Answers
from modelward.worker.http.upload_limits import Uploads
from modelward.worker.inference.admission import Work
from modelward.worker.inference.engine import Engine
from modelward.worker.inference.loader import LoadedVersion
from modelward.worker.jobs.access import JobAccess
from modelward.worker.protocol import WorkerSettings
from modelward.worker.scheduling.refusal import Refusing
from modelward.worker.shared.logs import LogFiles
from modelward.worker.stats import Counters


class SlowModel:
    """Cuts a clip into pieces of a second; each piece says the version. `hold` keeps pieces waiting while it is set."""

    languages = frozenset({"auto", "en", "zh"})

    def __init__(self, version: str) -> None:
        self.version = version
        self.go = threading.Event()
        self.go.set()
        self.said: list[tuple[int, str]] = []
        self.terminated = 0
        self.fails = False

    def warm(self) -> None: ...

    def cut(self, samples: Any, *, trim: bool = False) -> list[tuple[int, int]]:
        return [(i, min(i + 16000, len(samples))) for i in range(0, len(samples), 16000)]

    def options(self) -> Any:
        return SimpleNamespace(terminate=False)

    def lone_threads(self) -> int:
        return 1

    def recognize(self, samples: Any, threads: int = 1, *, language: str, itn: bool, options: Any) -> str:
        while not self.go.wait(0.005):
            if options.terminate:
                self.terminated += 1
                raise RuntimeError("terminated")
        if self.fails:
            raise RuntimeError("the graph is wrong")
        self.said.append((len(samples), language))
        return f"{self.version}{'+itn' if itn else ''}"

    def join(self, pieces: Sequence[tuple[tuple[int, int], Any]], samples: int) -> dict[str, Any]:
        return {"text": " ".join(said for _, said in pieces), "segments": [], "duration": samples / 16000}


class Served:
    """The running service. `url` is its address; `call` runs a function on its event loop."""

    def __init__(self, directory: Path, limits: ConnectionLimits, **settings: Any) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.listener.setblocking(False)
        self.port = self.listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.directory = directory
        self.models: dict[str, SlowModel] = {}
        self.settings = WorkerSettings("w1", "", str(directory / "api.sock"), 0, log_dir=str(directory), **settings)
        self.limits = limits
        self.ready = threading.Event()
        self.thread = threading.Thread(target=lambda: asyncio.run(self._live()), daemon=True)

    async def _live(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.over = asyncio.Event()
        logs = LogFiles(self.settings.log_dir, worker="w1")
        self.counters = Counters()
        self.engine = Engine(self._load, swapped=self.counters.swapped)
        upload = self.settings.max_upload_bytes
        self.work = Work(queue=self.settings.queue, audio_bytes=1 << 30)
        self.uploads = Uploads(
            places=self.settings.queue + 16,
            most_bytes=2 * upload,
            least_rate=self.settings.min_upload_rate,
            monotonic=self.loop.time,
        )
        gate = TokenCheck(self.settings.token_file, logs.events)
        refusing = Refusing(gate.problem, lambda: self.front.refusing())
        self.counters.refusing = refusing.because
        answers = Answers(2 * upload, lambda: self.front.connections)
        service = Service(
            self.settings,
            self.engine,
            self.work,
            self.counters,
            logs,
            gate,
            lambda: self.front.draining,
            lambda: self.front.leaving,
            self.uploads,
            answers,
            refusing,
            JobAccess(self.settings.jobs_dir, lambda: None) if self.settings.jobs_dir else None,
        )
        self.front = Front(
            build_app(service),
            self.listener,
            log=logs.events,
            refused=logs.refused,
            make_room=lambda: answers.make_room() or self.uploads.end_slowest(),
            limits=self.limits,
        )
        self.front.open()
        self.ready.set()
        await self.over.wait()
        self.front.cut()

    def _load(self, version: str, artifact: str) -> LoadedVersion:
        self.models[version] = SlowModel(version)
        return LoadedVersion(version, ascii(version)[1:-1] * 8, artifact, self.models[version])  # type: ignore[arg-type]

    def swap(self, version: str) -> SlowModel:
        """Serves `version` from now on."""
        self.wait(self.engine.prepare("r", version, f"/{version}"))
        self.call(lambda: self.engine.commit("r"))
        return self.models[version]

    def wait(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(PATIENCE_SECONDS)

    def call(self, function: Callable[[], Any]) -> Any:
        async def run() -> Any:
            return function()

        return self.wait(run())


@contextmanager
def serving(
    directory: Path, version: str = "v1", limits: ConnectionLimits | None = None, **settings: Any
) -> Iterator[Served]:
    """The service with `version` loaded ("" for none)."""
    served = Served(directory, limits or ConnectionLimits(), **settings)
    served.thread.start()
    served.ready.wait(PATIENCE_SECONDS)
    if version:
        served.swap(version)
    try:
        yield served
    finally:
        for model in served.models.values():
            model.go.set()
        served.loop.call_soon_threadsafe(served.over.set)
        served.thread.join(PATIENCE_SECONDS)
        served.listener.close()


def wav(seconds: float, rate: int = 16000) -> bytes:
    """A mono PCM16 WAV file of silence."""
    data = bytes(2 * int(seconds * rate))
    head = b"RIFF" + (36 + len(data)).to_bytes(4, "little") + b"WAVEfmt " + (16).to_bytes(4, "little")
    head += (1).to_bytes(2, "little") * 2 + rate.to_bytes(4, "little") + (2 * rate).to_bytes(4, "little")
    return (
        head + (2).to_bytes(2, "little") + (16).to_bytes(2, "little") + b"data" + len(data).to_bytes(4, "little") + data
    )


def post(served: Served, clip: bytes, timeout: float = PATIENCE_SECONDS, **fields: str) -> httpx.Response:
    """A clip sent as a form."""
    return asking.post(f"{served.url}/api/predict", files={"audio": ("a.wav", clip)}, data=fields, timeout=timeout)


class Asking(threading.Thread):
    """One request in a thread; `answer()` waits for it."""

    def __init__(self, ask: Callable[[], Any]) -> None:
        super().__init__(daemon=True)
        self._ask, self._answer, self._error = ask, None, None
        self.start()

    def run(self) -> None:
        try:
            self._answer = self._ask()
        except (httpx.HTTPError, OSError) as e:
            self._error = e

    def answer(self) -> Any:
        self.join(PATIENCE_SECONDS)
        if self._error is not None:
            raise self._error
        return self._answer


def raw(served: Served, data: bytes, seconds: float = PATIENCE_SECONDS) -> bytes:
    """What comes back for these bytes until the connection ends."""
    with socket.create_connection(("127.0.0.1", served.port), timeout=seconds) as connection:
        connection.sendall(data)
        answer = b""
        try:
            while more := connection.recv(65536):
                answer += more
        except TimeoutError:
            answer += b"<still open>"
        except ConnectionResetError:  # closed while some of `data` was not read: what was answered came before
            if not answer:
                raise
        return answer
