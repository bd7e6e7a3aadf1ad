"""Joins a program of your own to modelward, so that it is reloaded like a worker. Standard library only, one file.

    ward = attach(load=lambda artifact, version: MyModel(artifact), name="webui")
    with ward.request() as model:          # in each request: keeps this model to the request's end
        answer = model(audio)

A thread stays connected to the worker socket of the daemon. It calls `load` with the directory of an accepted version
and its name, while the old version still serves; the swap replaces one reference. While the daemon is away, the program
serves on with the version that it has. The file may be copied into a program that does not install modelward.
"""

from __future__ import annotations

import json
import os
import random
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

Model = TypeVar("Model")
Message = dict[str, Any]

DEFAULT_SOCKET = "/run/modelward/workers.sock"
PROTOCOL = 1
MAX_MESSAGE_BYTES = 64 * 1024
SHORTEST_RETRY_SECONDS, LONGEST_RETRY_SECONDS = 0.2, 5.0
QUIET_BEAT_SECONDS = 20.0
LATENCIES_KEPT = 512


class Attachment(Generic[Model]):
    """One attached program. Thread-safe; `model` is None until the first version is loaded."""

    def __init__(
        self,
        load: Callable[[str, str], Model],
        name: str,
        path: str,
        aside: bool,
        on_stop: Callable[[], None],
        on_reopen: Callable[[], None],
    ) -> None:
        self._load, self._name, self._path, self._aside = load, name, path, aside
        self._on_stop, self._on_reopen = on_stop, on_reopen
        self._lock = threading.Lock()
        self._current: tuple[str, str, Model] | None = None
        self._prepared: tuple[str, str, str, Model | None] | None = None
        self._inflight = self._requests = self._errors = 0
        self._latencies: deque[float] = deque(maxlen=LATENCIES_KEPT)
        self._beat_seconds, self._beat_at = 5.0, 0.0
        self._last_beat: tuple[int, int, int] | None = None
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="modelward", daemon=True)

    @property
    def model(self) -> Model | None:
        """The model that answers requests that begin now."""
        current = self._current
        return current[2] if current else None

    @property
    def version(self) -> str:
        """The version of `model`; "" for none."""
        current = self._current
        return current[0] if current else ""

    @contextmanager
    def request(self) -> Iterator[Model]:
        """Counts a request and gives it the model for its whole duration. An exception counts as an error.

        Raises LookupError while no version is loaded.
        """
        current = self._current
        if current is None:
            raise LookupError("cannot answer: no version is loaded yet")
        began, failed = time.monotonic(), True
        with self._lock:
            self._inflight += 1
        try:
            yield current[2]
            failed = False
        finally:
            with self._lock:
                self._inflight -= 1
                self._requests += 1
                self._errors += failed
                self._latencies.append(time.monotonic() - began)

    def wait(self, seconds: float | None = None) -> bool:
        """Blocks until a version is loaded; False after `seconds` without one."""
        deadline = None if seconds is None else time.monotonic() + seconds
        while self._current is None and not self._closed.is_set():
            if deadline is not None and time.monotonic() > deadline:
                return False
            self._closed.wait(0.05)
        return self._current is not None

    def close(self) -> None:
        """Leaves the daemon; the model stays loaded."""
        self._closed.set()
        self._thread.join(2.0)

    # the thread

    def _run(self) -> None:
        retry = SHORTEST_RETRY_SECONDS
        while not self._closed.is_set():
            try:
                with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
                    s.settimeout(5.0)
                    s.connect(self._path)
                    retry = SHORTEST_RETRY_SECONDS
                    self._talk(s)
            except (OSError, ValueError, TypeError, OverflowError, RecursionError):
                pass  # the daemon is away, restarts, or has another protocol: serve on and try again
            self._closed.wait(retry * (0.8 + 0.4 * random.random()))
            retry = min(LONGEST_RETRY_SECONDS, retry * 2)

    def _talk(self, s: socket.socket) -> None:
        hello = {"protocol": PROTOCOL, "pid": os.getpid(), "name": self._name, "attached": True}
        _send(s, "hello", **hello, serving=self.version, artifact=self._current[1] if self._current else "")
        held = b""
        while not self._closed.is_set():
            s.settimeout(min(1.0, self._beat_seconds))
            try:
                data = s.recv(MAX_MESSAGE_BYTES)
            except TimeoutError:
                self._beat(s)
                continue
            if not data:
                return
            *lines, held = (held + data).split(b"\n")
            if len(held) > MAX_MESSAGE_BYTES:
                raise ValueError("a message without end")
            s.settimeout(5.0)
            for line in lines:
                if line.strip():
                    self._hear(s, _message(line))
            self._beat(s)

    def _hear(self, s: socket.socket, message: Message) -> None:
        kind, rollout = message.get("type"), _text(message, "rollout")
        if kind == "welcome":
            self._beat_seconds = min(3600.0, max(0.2, float(message.get("beat_seconds", 5.0))))
            self._welcome(s, _text(message, "version"), _text(message, "artifact"))
        elif kind == "prepare":
            self._prepare(s, rollout, _text(message, "version"), _text(message, "artifact"))
        elif kind == "commit":
            self._commit(s, rollout)
        elif kind == "abort":
            self._prepared = None
        elif kind == "reopen_logs":
            try:
                self._on_reopen()
            except Exception:  # noqa: BLE001 - the program's own; without an answer, the daemon reports that this one did not reopen
                return
            _send(s, "reopened")
        elif kind in ("drain", "stop"):
            self._on_stop()

    def _welcome(self, s: socket.socket, version: str, artifact: str) -> None:
        current = self._current
        if version and (current is None or current[:2] != (version, artifact)):
            if not self._try(s, "", version, artifact):
                return
            self._swap()
        if version:
            _send(s, "serving", rollout="", version=version)

    def _prepare(self, s: socket.socket, rollout: str, version: str, artifact: str) -> None:
        if not self._aside:
            self._prepared = (rollout, version, artifact, None)
            _send(s, "prepared", rollout=rollout, version=version, reason="will load at commit")
        elif (seconds := self._try(s, rollout, version, artifact)) is not None:
            _send(s, "prepared", rollout=rollout, version=version, seconds=seconds)

    def _commit(self, s: socket.socket, rollout: str) -> None:
        prepared = self._prepared
        if prepared is None or prepared[0] != rollout:
            _send(s, "refused", rollout=rollout, version="", reason="nothing is prepared under this rollout")
            return
        if prepared[3] is None and self._try(s, rollout, prepared[1], prepared[2]) is None:
            return
        self._swap()
        _send(s, "serving", rollout=rollout, version=self.version)

    def _try(self, s: socket.socket, rollout: str, version: str, artifact: str) -> float | None:
        """Loads; returns the seconds it took, or None after a failure, which it has reported."""
        began = time.monotonic()
        try:
            model = self._load(artifact, version)
        except Exception as e:  # noqa: BLE001 - the program's own loader may raise anything
            reason = f"{type(e).__name__}: {e}"[:2000]
            _send(s, "refused", rollout=rollout, version=version, reason=reason)
            return None
        self._prepared = (rollout, version, artifact, model)
        return max(1e-6, time.monotonic() - began)

    def _swap(self) -> None:
        assert self._prepared is not None
        _, version, artifact, model = self._prepared
        assert model is not None  # the version that was just loaded
        self._prepared = None
        self._current = (version, artifact, model)
        with self._lock:
            self._latencies.clear()

    def _beat(self, s: socket.socket) -> None:
        now = time.monotonic()
        with self._lock:
            counts = (self._inflight, self._requests, self._errors)
            ranked = sorted(self._latencies)
        due = self._beat_seconds if counts != self._last_beat else QUIET_BEAT_SECONDS
        if now - self._beat_at < due:
            return
        self._beat_at, self._last_beat = now, counts
        p95 = ranked[int(0.95 * (len(ranked) - 1))] if ranked else 0.0
        inflight, requests, errors = counts
        _send(
            s,
            "beat",
            inflight=inflight,
            requests=requests,
            errors=errors,
            p95_seconds=p95,
            rss_bytes=_resident_bytes(),
        )


def attach(
    load: Callable[[str, str], Model],
    *,
    name: str,
    socket: str = "",
    aside: bool = True,
    on_stop: Callable[[], None] = lambda: None,
    on_reopen: Callable[[], None] = lambda: None,
) -> Attachment[Model]:
    """Joins the daemon behind `socket` (default MODELWARD_WORKERS, else /run/modelward/workers.sock); returns at once.

    `load(artifact, version)` gets the directory to load from and returns whatever the program calls a model. An
    exception refuses the version. `aside=False` is for a program that cannot hold two models: it loads at the swap.
    `on_stop` is called when the daemon asks the program to drain or stop. `on_reopen` is called when its log files were
    renamed (`logs.extra` with the method `reopen`): they are compressed once it has returned. By default both do
    nothing.
    """
    path = socket or os.environ.get("MODELWARD_WORKERS", "") or DEFAULT_SOCKET
    attachment = Attachment(load, name, path, aside, on_stop, on_reopen)
    attachment._thread.start()
    return attachment


def _message(line: bytes) -> Message:
    message = json.loads(line)
    if not isinstance(message, dict):
        raise ValueError("a line that is not an object")
    return message


def _text(message: Message, key: str) -> str:
    value = message.get(key, "")
    if not isinstance(value, str):
        raise ValueError(f"{key} is not a string")
    return value


def _send(s: socket.socket, kind: str, **fields: object) -> None:
    # A reason may contain a file name that is not UTF-8; the daemon closes the connection on such a line.
    line = json.dumps({"type": kind, **fields}, ensure_ascii=False).encode("utf-8", "replace")
    s.sendall(line + b"\n")


def _resident_bytes() -> int:
    try:
        with open("/proc/self/statm", "rb") as f:
            return int(f.read(200).split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0
