"""A real worker process with a fake daemon, on a port of its own, for tests."""

from __future__ import annotations

import atexit
import functools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import msgspec
from tests import asking
from tests.fakes.daemon import FakeDaemon
from tests.support import PATIENCE_SECONDS, eventually
from tests.versions import MODEL, clips, good_version

from modelward.worker import protocol as p
from modelward.worker.shared.artifact import (
    Artifact,
    ArtifactFile,
    artifact_name,
    write_artifact,
)

ROOT = Path(__file__).resolve().parents[2]


def make_artifact(root: Path, name: str, *, words: bool = False) -> Path:
    """An artifact of the demo recogniser under `root`, as validation leaves it."""
    return sealed(good_version(root, f".tmp-{name}", words=words, golden=False), name)


def sealed(aside: Path, name: str, kind: str = "sensevoice") -> Path:
    """The artifact of the version's files in `aside`, moved into its place beside."""
    files = {}
    for path in sorted(aside.rglob("*")):
        if path.is_file():
            data = path.read_bytes()
            files[path.relative_to(aside).as_posix()] = ArtifactFile(len(data), sha256(data).hexdigest())
    digest = sha256("".join(f"{f.sha256}  {n}\n" for n, f in sorted(files.items())).encode()).hexdigest()
    write_artifact(aside, Artifact(name, digest, kind, MODEL, files, "1.32.0"))
    return aside.rename(aside.parent / artifact_name(name, digest))


@functools.cache
def _cache() -> Path:
    directory = Path(tempfile.mkdtemp(prefix="modelward-artifacts-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return directory


@functools.cache
def digits() -> Path:
    """The artifact of dtmf-v1.0, which writes digits. Shared: not to be changed."""
    return make_artifact(_cache(), "dtmf-v1.0")


@functools.cache
def words() -> Path:
    """The artifact of dtmf-v1.1, which writes words. Shared: not to be changed."""
    return make_artifact(_cache(), "dtmf-v1.1", words=True)


@functools.cache
def clip(name: str) -> bytes:
    """One of the demo's clips."""
    return clips()[name].read_bytes()


def copy_artifact(artifact: Path, target: Path) -> Path:
    """A private copy that a test may damage."""
    shutil.copytree(artifact, target)
    return target


@dataclass
class Worker:
    """A worker process. `url` answers while it lives; `logs` is its log directory."""

    process: subprocess.Popen[bytes]
    url: str
    logs: Path
    errors: Path
    daemon: FakeDaemon
    runtime: Path
    listener: socket.socket
    settings: p.WorkerSettings
    clients: list[httpx.Client] = field(default_factory=list)
    passed_over: dict[str, int] = field(default_factory=dict)

    def client(self, **options: Any) -> httpx.Client:
        """A client with connections of its own."""
        client = asking.client(base_url=self.url, **options)
        self.clients.append(client)
        return client

    def predict(self, client: httpx.Client, clip: bytes, **fields: str) -> httpx.Response:
        """A clip sent as a form."""
        return client.post("/api/predict", files={"audio": ("clip.wav", clip, "audio/wav")}, data=fields)

    def end(self, how: int = signal.SIGTERM, seconds: float = PATIENCE_SECONDS) -> int:
        """Signals it and returns its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        return self.process.wait(seconds)

    def lines(self, name: str) -> list[dict[str, Any]]:
        """A log file's lines, without those of the tests before."""
        path = self.logs / name
        lines = path.read_text().splitlines() if path.exists() else []
        return [json.loads(line) for line in lines[self.passed_over.get(name, 0) :]]

    def begin_anew(self) -> None:
        """Joins a new daemon, serves the first version again, and has no lines, whatever the last test did with it."""
        for client in self.clients:
            client.close()
        self.clients.clear()
        with suppress(OSError):  # the test closed it
            self.daemon.close()
        self.daemon = FakeDaemon(self.daemon.path, self.daemon.welcome)
        self.daemon.wait_for(p.Beat)
        eventually(lambda: asking.get(self.url + "/health").json()["version"] == "dtmf-v1.0")
        self.passed_over.clear()
        self.passed_over |= {path.name: len(self.lines(path.name)) for path in self.logs.iterdir()}


@contextmanager
def worker(
    directory: Path,
    artifact: Path | None,
    *,
    version: str = "",
    listener: socket.socket | None = None,
    daemon: FakeDaemon | None = None,
    wait: bool = True,
    first_path: Path | None = None,
    **settings: Any,
) -> Iterator[Worker]:
    """A worker that serves `artifact` (nothing when None), ended and collected at the end.

    `first_path` is where it and its children look for modules first.
    """
    directory.mkdir(parents=True, exist_ok=True)
    logs = directory / "logs"
    logs.mkdir(exist_ok=True)
    runtime = directory / "run"
    runtime.mkdir(exist_ok=True)
    own_listener = listener is None
    if listener is None:
        listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    name = version or (artifact.name.rsplit("-", 1)[0] if artifact else "")
    own_daemon = daemon is None
    if daemon is None:
        daemon = FakeDaemon(runtime / "workers.sock", p.Welcome(name, str(artifact or ""), 0.2))
    told = p.WorkerSettings(
        **{
            "name": "w1",
            "worker_socket": str(daemon.path),
            "api_socket": str(runtime / "api.sock"),
            "listen_fd": listener.fileno(),
            "log_dir": str(logs),
            "drain_seconds": 10.0,
            "cache_dir": tempfile.gettempdir(),  # the tests' artifacts are in many places below
            **settings,
        }
    )
    errors = directory / "stderr"
    with errors.open("ab") as stderr:
        process = start(told, listener, first_path=first_path, stderr=stderr)
    port = listener.getsockname()[1]
    running = Worker(process, f"http://127.0.0.1:{port}", logs, errors, daemon, runtime, listener, told)
    try:
        if wait:
            eventually(lambda: _up(running, artifact is not None))
        yield running
    finally:
        for client in running.clients:
            client.close()
        if process.poll() is None:
            process.kill()
        process.wait(PATIENCE_SECONDS)
        if own_daemon:
            with suppress(OSError):
                daemon.close()
        if own_listener:
            listener.close()


@contextmanager
def resident(directory: Path) -> Iterator[Callable[[], Worker]]:
    """One worker for many tests: each call gives it as if it had just started, or another one if the last has ended."""
    with ExitStack() as stack:
        workers: list[Worker] = []

        def give() -> Worker:
            if workers and workers[-1].process.poll() is None:
                workers[-1].begin_anew()
            else:
                workers.append(stack.enter_context(worker(directory / str(len(workers)), digits())))
            return workers[-1]

        yield give


def start(
    settings: p.WorkerSettings, listener: socket.socket | None, *, first_path: Path | None = None, **options: Any
) -> subprocess.Popen[bytes]:
    """The bare process."""
    return subprocess.Popen(
        [sys.executable, "-m", "modelward.worker", "--settings", msgspec.json.encode(settings).decode()],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(str(path) for path in (first_path, ROOT / ".imports") if path is not None),
            "MALLOC_MMAP_THRESHOLD_": "131072",
            "ORT_DISABLE_TELEMETRY": "1",
        },
        pass_fds=[listener.fileno()] if listener is not None else [],
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        **options,
    )


def _up(running: Worker, loaded: bool) -> bool:
    """Its own word, as a sibling on the same port may answer for it; a process that ended fails the test."""
    if running.process.poll() is not None:
        raise AssertionError(f"the worker ended with {running.process.returncode}: {running.errors.read_text()}")
    return bool(running.daemon.told(p.Serving if loaded else p.Beat))


class Load:
    """Constant clients in threads. `ask` makes one request with its client; what it returns or raises is kept.

    Each takes a short breath between two requests: they must meet what is tested, not keep the machine from it.
    """

    def __init__(self, clients: int, ask: Any) -> None:
        self.answers: list[Any] = []
        self.failures: list[str] = []
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(ask,), daemon=True) for _ in range(clients)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.finish()

    def finish(self) -> None:
        """Ends the clients; returns when their last answers came."""
        self._over.set()
        for thread in self._threads:
            thread.join(PATIENCE_SECONDS)

    def more(
        self,
        count: int,
    ) -> None:
        """Returns when `count` further answers came."""
        enough = len(self.answers) + count
        eventually(lambda: len(self.answers) >= enough or bool(self.failures))

    def _run(self, ask: Any) -> None:
        while not self._over.is_set():
            try:
                self.answers.append(ask())
            except (httpx.HTTPError, AssertionError, OSError) as e:
                self.failures.append(repr(e))
            self._over.wait(0.02)
