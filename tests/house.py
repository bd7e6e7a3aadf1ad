"""A whole modelward for a test: a real daemon with real workers in a directory of its own, and clients that hammer it.

Everything goes through what users have: files, links, signals, the command line's API, HTTP.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.fakes.answers import CheckedClient
from tests.support import PATIENCE_SECONDS, eventually, modules
from tests.versions import clips

from modelward.daemon.cli.client import Client
from modelward.daemon.errors import ModelwardError

DIGITS = {"dtmf-v1.0": "5551234", "dtmf-v1.1": "five five five one two three four"}


PORTS = range(20_000, 32_000)
"""Below those that the system lends to clients: a port that waits for its daemon is not taken by a connection."""


def free_port() -> int:
    """A port that was free a moment ago. Drawn, so that tests side by side do not meet at one."""
    for port in random.SystemRandom().sample(PORTS, 100):
        with socket.socket() as s, contextlib.suppress(OSError):
            s.bind(("127.0.0.1", port))
            return port
    raise AssertionError(f"not one of 100 ports from {PORTS[0]} to {PORTS[-1]} is free")


BREATH_SECONDS = 0.2
"""Between two requests of a client: without it clients keep the machine from what is being tested."""


@dataclass
class House:
    """One daemon's world below `root`; `settings` are configuration sections laid over the usual ones.

    `prefix` goes before the daemon's command line: a program that sets something up and becomes the daemon.
    `import_from` are directories that daemon and workers look for modules in before all others. `python` is another
    interpreter than that of the tests, with an environment of its own. `module` is what becomes the daemon, with its
    arguments; the configuration's path follows.
    """

    root: Path
    settings: dict[str, dict[str, object]] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None
    prefix: tuple[str, ...] = ()
    import_from: tuple[Path, ...] = ()
    python: Path | None = None
    module: tuple[str, ...] = ("modelward.daemon", "run", "--config")

    def __post_init__(self) -> None:
        self.models.mkdir(parents=True, exist_ok=True)
        self.configure()

    # its places

    @property
    def models(self) -> Path:
        return self.root / "models"

    @property
    def link(self) -> Path:
        return self.models / "current"

    @property
    def config(self) -> Path:
        return self.root / "modelward.toml"

    @property
    def log_dir(self) -> Path:
        return self.root / "log"

    @property
    def api(self) -> Client:
        return CheckedClient(str(self.root / "run" / "api.sock"))

    def configure(self, **sections: dict[str, object]) -> None:
        """Writes the configuration: quick defaults, nothing compiled, then the house's settings, then `sections`."""
        usual: dict[str, dict[str, object]] = {
            "models": {"root": str(self.models), "settle": 0.3, "rescan": 1},
            "validation": {"timeout": PATIENCE_SECONDS, "golden": "", "compile": "off", "alert_after": 0},
            "rollout": {"bake": 0, "reload_timeout": PATIENCE_SECONDS},
            "workers": {"count": 2, "listen": f"127.0.0.1:{self.port}", "drain": 10},
            "control": {
                "runtime_dir": str(self.root / "run"),
                "state_dir": str(self.root / "state"),
                "cache_dir": str(self.root / "cache"),
            },
            "panel": {"listen": ""},
            "logs": {"dir": str(self.log_dir)},
        }
        for changes in (self.settings, sections):
            for name, keys in changes.items():
                usual.setdefault(name, {}).update(keys)
        lines = []
        for name, keys in usual.items():
            lines += [f"[{name}]", *(f"{key} = {_toml(value)}" for key, value in keys.items())]
        self.config.write_text("\n".join(lines) + "\n", encoding="utf-8")

    # the daemon

    def start(self, version: str = "", *, wait: bool = True) -> House:
        """Starts the daemon; with `wait` returns when its API answers, with a version when all workers do with it."""
        with open(self.root / "daemon.out", "ab") as out:
            self.process = subprocess.Popen(
                [*self.prefix, self.python or sys.executable, "-m", *self.module, self.config],
                env=_environment(*self.import_from, python=self.python),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        if wait:
            eventually(self.answers)
        if version:
            self.await_serving(version)
        return self

    def answers(self) -> bool:
        with contextlib.suppress(ModelwardError):
            return self.status()["pid"] == (self.process.pid if self.process else 0)
        return False

    def stop(self, seconds: float = PATIENCE_SECONDS) -> int:
        """SIGTERM; the exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(seconds)
        self.process = None
        return status

    def kill(self) -> None:
        """SIGKILL to the daemon alone."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(PATIENCE_SECONDS)

    def close(self) -> None:
        """Ends whatever is left of it, also after a failed test."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(PATIENCE_SECONDS)
        for pid in self.worker_pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def worker_pids(self) -> list[int]:
        """Every process that works for this house, by its command line; zombies don't count."""
        mark, found = str(self.root / "run" / "workers.sock").encode(), []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError, ValueError):
                if mark in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
        return found

    # what it says

    def status(self) -> dict[str, Any]:
        return self.api.get("/v1/status").data

    def alerts(self) -> list[dict[str, Any]]:
        """What is wrong now, without what stays an alert for a while because it is news, and without the machine's."""
        now = ("needs_operator", "root_absent", "watch_lost", "config_refused")
        return [alert for alert in self.status()["alerts"] if alert["metric"] in now]

    def versions(self) -> dict[str, dict[str, Any]]:
        return {v["version"]: v for v in self.api.get("/v1/versions").data["versions"]}

    def version(self, name: str) -> dict[str, Any]:
        """One version, {} while the daemon has not seen it."""
        return self.versions().get(name, {})

    def workers(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.api.get("/v1/workers").data["workers"]
        return found

    def history(self, kind: str = "") -> list[dict[str, Any]]:
        """Newest first."""
        found: list[dict[str, Any]] = self.api.get("/v1/history", n=500, kind=kind).data["history"]
        return found

    def command(self, path: str, **body: object) -> dict[str, Any]:
        """A request, answered when it is decided. Raises Refused."""
        return self.api.post_and_wait(f"/v1/{path}", body, lambda: None, seconds=PATIENCE_SECONDS).data

    def cli(self, *words: object, seconds: float = PATIENCE_SECONDS) -> subprocess.CompletedProcess[str]:
        """The `modelward` command with these words, told of this house's socket as a shell would."""
        return subprocess.run(
            [sys.executable, "-m", "modelward.daemon", *map(str, words)],
            env={**_environment(), "MODELWARD_SOCKET": str(self.root / "run" / "api.sock")},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
        )

    def serves(self, version: str) -> bool:
        """Whether every worker that is there answers with it, and there are as many as wanted."""
        workers = self.workers()
        return bool(workers) and all(w["state"] == "ready" and w["serving"] == version for w in workers)

    def await_serving(self, version: str, seconds: float = PATIENCE_SECONDS) -> None:
        """Returns when every worker answers with it and the rollout that brought it is over and written down."""
        eventually(lambda: self.serves(version) and self.status()["rollout"] is None, seconds)

    def await_state(self, version: str, state: str, seconds: float = PATIENCE_SECONDS) -> dict[str, Any]:
        """The version once it is in this state."""
        return eventually(lambda: v if (v := self.version(version)).get("state") == state else None, seconds) or {}

    def events(self) -> list[dict[str, Any]]:
        """The event log of daemon and workers."""
        text = (self.log_dir / "modelward.log").read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines()]

    # its clients

    def transcribe(
        self, audio: bytes | None = None, *, timeout: float = PATIENCE_SECONDS
    ) -> tuple[int, dict[str, Any], str]:
        """One request on a connection of its own: status, JSON, X-Model-Version."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            return _ask(connection, clip() if audio is None else audio)
        finally:
            connection.close()

    @contextlib.contextmanager
    def load(
        self,
        clients: int = 4,
        *,
        keep_alive: bool = True,
        audio: Callable[[], bytes] | None = None,
        pause_seconds: float = BREATH_SECONDS,
    ) -> Iterator[Load]:
        """Constant clients for as long as the block runs, and one request each after it; `audio` gives what each asks.

        Each takes a short breath between two requests, or it would keep the machine from what is being tested.
        """
        load = Load(self.port, clients, keep_alive, audio or clip, pause_seconds)
        load.begin()
        try:
            yield load
        finally:
            load.end()


@dataclass
class Load:
    """Clients that ask again and again. `answers` counts (version, text), `failures` whatever was no 200.

    `broken` are the clients' own ports of the connections that ended in the middle of a request; `longest` is the
    longest that an answer took, by the version that gave it. `refused` counts (status, version) that was no 200.
    """

    port: int
    clients: int
    keep_alive: bool
    audio: Callable[[], bytes]
    pause_seconds: float
    answers: Counter[tuple[str, str]] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    refused: Counter[tuple[int, str]] = field(default_factory=Counter)
    broken: list[int] = field(default_factory=list)
    longest: dict[str, float] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def begin(self) -> None:
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(self.clients)]
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        eventually(lambda: len(self.seconds) >= self.clients)
        self._over.set()
        for thread in self._threads:
            thread.join(PATIENCE_SECONDS)

    @property
    def mixed(self) -> list[tuple[str, str]]:
        """Answers whose text is not that of the version that they say answered."""
        return [key for key in self.answers if key[0] in DIGITS and DIGITS[key[0]] != key[1]]

    def _run(self) -> None:
        with contextlib.closing(
            http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_SECONDS)
        ) as connection:
            over = False
            while not over:
                over = self._over.is_set()  # then once more: what came at the end of the block answers too
                audio, began, port = self.audio(), time.monotonic(), 0
                try:
                    if connection.sock is None:
                        connection.connect()
                    port = connection.sock.getsockname()[1]
                    status, answer, version = _ask(connection, audio)
                    if status == 200:
                        self.answers[version, answer["result"]] += 1
                        took = time.monotonic() - began
                        self.longest[version] = max(self.longest.get(version, 0.0), took)
                    else:
                        self.failures.append(f"{status} {answer}")
                        self.refused[status, version] += 1
                    if not self.keep_alive:
                        connection.close()
                except (OSError, http.client.HTTPException, ValueError) as e:
                    self.failures.append(repr(e))
                    self.broken.append(port)
                    connection.close()  # it connects anew by itself
                self.seconds.append(time.monotonic() - began)
                self._over.wait(self.pause_seconds)


def clip(name: str = "5551234") -> bytes:
    """One of the demo's clips."""
    return clips()[name].read_bytes()


def _toml(value: object) -> str:
    """JSON's words are TOML's, but for tables."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value)


def _environment(*first: Path, python: Path | None = None) -> dict[str, str]:
    """Ours, and modules are looked for in `first`, then where these tests find them; another `python` has its own."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, first)) if python else modules(*first)}


def _ask(connection: http.client.HTTPConnection, audio: bytes) -> tuple[int, dict[str, Any], str]:
    connection.request("POST", "/api/predict", audio, {"Content-Type": "audio/wav"})
    response = connection.getresponse()
    data = json.loads(response.read())
    return response.status, data, response.getheader("X-Model-Version") or ""
