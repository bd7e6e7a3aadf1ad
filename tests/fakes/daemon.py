"""The daemon's end of workers.sock, for tests of workers: takes connections, keeps what they say, says what it is told.

Runs in a thread of the test. What a test needs of the real daemon and no more; the messages are the real ones.
"""

from __future__ import annotations

import os
import socket
import threading
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from tests.support import PATIENCE_SECONDS, eventually

from modelward.worker import protocol as p

M = TypeVar("M", bound=p.Message)


class FakeDaemon:
    """Listens at `path` until closed. `welcome` answers every hello; None leaves it unanswered."""

    def __init__(self, path: Path, welcome: p.Welcome | None) -> None:
        self.path, self.welcome = path, welcome
        self.heard: list[p.FromWorker] = []
        self.handed: list[int] = []
        self._connections: list[socket.socket] = []
        self._socket = socket.socket(socket.AF_UNIX)
        path.unlink(missing_ok=True)
        self._socket.bind(str(path))
        self._socket.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Goes away as a killed daemon does: every connection ends, the socket file stays."""
        # Closing alone would not wake the thread in accept.
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for connection in self._connections:
            with suppress(OSError):  # the worker was first
                connection.shutdown(socket.SHUT_RDWR)
        self._connections.clear()
        for fd in self.handed:
            os.close(fd)
        self.handed.clear()

    def say(self, message: p.Message) -> None:
        """Sends to the newest connection."""
        self.say_bytes(p.encode(message))

    def say_bytes(self, data: bytes) -> None:
        """Sends what may be no message at all."""
        self._connections[-1].sendall(data)

    def told(self, kind: type[M]) -> list[M]:
        """What was heard of this kind, oldest first."""
        return [message for message in self.heard if isinstance(message, kind)]

    def wait_for(self, kind: type[M], count: int = 1, seconds: float = PATIENCE_SECONDS) -> M:
        """The `count`th message of this kind, once it was heard."""
        eventually(lambda: len(self.told(kind)) >= count, seconds)
        return self.told(kind)[count - 1]

    def swap(self, rollout: str, version: str, artifact: Path) -> None:
        """A whole rollout of one worker: prepare, commit, and its word that it serves."""
        self.say(p.Prepare(rollout, version, str(artifact)))
        eventually(lambda: any(m.rollout == rollout for m in self.told(p.Prepared)))
        self.say(p.Commit(rollout))
        eventually(lambda: any(m.rollout == rollout for m in self.told(p.Serving)))

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self._connections.append(connection)
            threading.Thread(target=self._listen, args=(connection,), daemon=True).start()

    def _listen(self, connection: socket.socket) -> None:
        lines = p.Lines()
        try:
            while True:
                data, fds, _, _ = socket.recv_fds(connection, 65536, 4)
                self.handed += fds
                if not data:
                    break
                for line in lines.feed(data):
                    self._hear(connection, p.decode_from_worker(line))
        except OSError:
            pass
        finally:
            connection.close()

    def _hear(self, connection: socket.socket, message: p.FromWorker) -> None:
        self.heard.append(message)
        if isinstance(message, p.Hello) and self.welcome is not None:
            connection.sendall(p.encode(self.welcome))
