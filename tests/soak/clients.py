"""Clients that ask almost without a pause, each request under a number of its own, and what became of each."""

from __future__ import annotations

import contextlib
import http.client
import json
import select
import socket
import threading
import time
from dataclasses import dataclass, field

TIMEOUT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Request:
    """One request; times are monotonic seconds. `port` is the client's own; `status` 0: the connection broke."""

    id: str
    began: float
    ended: float
    port: int
    kept_alive: bool
    status: int
    version: str
    text: str


@dataclass
class Clients:
    """Half of them keep their connection, the others make one for each request."""

    port: int
    audio: bytes
    count: int = 4
    pause_seconds: float = 0.06
    requests: list[Request] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def begin(self) -> None:
        self._threads = [threading.Thread(target=self._run, args=(n,), daemon=True) for n in range(self.count)]
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(TIMEOUT_SECONDS + 5)

    def _run(self, client: int) -> None:
        number, keep = 0, client % 2 == 0
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT_SECONDS)
        with contextlib.closing(connection):
            while not self._over.is_set():
                number += 1
                self.requests.append(self._ask(connection, f"soak-{client}-{number}", keep))
                if not keep or self.requests[-1].status == 0:
                    connection.close()  # it connects anew by itself
                self._over.wait(self.pause_seconds)

    def _ask(self, connection: http.client.HTTPConnection, name: str, keep: bool) -> Request:
        began, port, status, version, text = time.monotonic(), 0, 0, "", ""
        try:
            if connection.sock is not None and _gone(connection.sock):
                connection.close()  # as every client that keeps connections has to
            if connection.sock is None:
                connection.connect()
            port = connection.sock.getsockname()[1]
            headers = {"Content-Type": "audio/wav", "X-Request-Id": name}
            connection.request("POST", "/api/predict", self.audio, headers)
            response = connection.getresponse()
            data = json.loads(response.read())
            status, version = response.status, response.getheader("X-Model-Version") or ""
            text = str(data.get("result") if status == 200 else data)
        except (OSError, http.client.HTTPException, ValueError) as e:
            status, text = 0, repr(e)
        return Request(name, began, time.monotonic(), port, keep, status, version, text)


def _gone(connection: socket.socket) -> bool:
    """Whether the other side closed a connection on which nothing is due."""
    return bool(select.select([connection], [], [], 0)[0])
