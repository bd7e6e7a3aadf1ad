"""Serves the admin API on a Unix socket, to peers that the kernel shows to be allowed. Idle connections keep no one
out.

It embeds a uvicorn that handles no signals, wakes up only for work, and closes the connection of any other peer before
it reads a byte.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn.lifespan.off  # noqa: F401 - or it would be read when the event loop runs
from starlette.types import ASGIApp
from uvicorn.config import Config
from uvicorn.server import Server

from ...worker.shared.http_framing import Framed
from ..system import descriptors
from ..system.background import here
from ..system.unix_socket import Credentials, bind, credentials
from .connection_limit import Bounded, bounded

SHUTDOWN_SECONDS = 3
MAX_CONNECTIONS = 256
SHARE = 0.3  # of the descriptors
ACCEPTED_AT_ONCE = 2  # before those that are too many are closed: each of them has a descriptor until then
BACKLOG = 2048
ACCEPT_TURNS = 5  # of the event loop, from accept to a protocol that has its transport


class _Server(Server):
    """uvicorn without its signal handlers and its ten ticks a second."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.stopping = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Any:
        yield

    async def main_loop(self) -> None:
        await self.stopping.wait()


class Embedded:
    """One uvicorn in this loop, over an open socket; `concurrency` None leaves that limit to the protocol.

    `name` is that of the part which it serves.
    """

    def __init__(self, name: str, app: ASGIApp, protocol: type[Framed], concurrency: int | None) -> None:
        self._name = name
        self._config = Config(
            app,
            http=protocol,
            ws="none",
            proxy_headers=False,
            lifespan="off",
            log_config=None,
            log_level="error",
            access_log=False,
            date_header=False,
            server_header=False,
            timeout_keep_alive=30,
            backlog=ACCEPTED_AT_ONCE,
            timeout_graceful_shutdown=SHUTDOWN_SECONDS,
            limit_concurrency=concurrency,
        )
        self._server = _Server(self._config)
        self._task: asyncio.Task[None] | None = None
        self._sock: socket.socket | None = None

    async def open(self, sock: socket.socket) -> None:
        """Starts serving; requests are answered when this returns. Raises OSError."""
        self._sock = sock
        self._task = here().start(self._name, partial(self._server.serve, sockets=[sock]))
        while not self._server.started and not self._task.done():
            await asyncio.sleep(0)
        if self._task.done():
            await self.close()
            raise OSError(f"cannot serve {self._name}: its server ended as it began")
        sock.listen(BACKLOG)  # asyncio takes one number for both

    @property
    def alive(self) -> bool:
        """Whether it serves. From any thread."""
        return self._task is not None and not self._task.done()

    async def close(self) -> None:
        """Ends it: open requests have SHUTDOWN_SECONDS to finish."""
        if self._task is None:
            return
        await self._stop_accepting()
        self._server.should_exit = True
        self._server.stopping.set()
        await asyncio.wait([self._task], timeout=SHUTDOWN_SECONDS + 2)
        self._task.cancel()
        self._task = None
        for listening in getattr(self._server, "servers", ()):  # of one that ended by an error
            listening.close()
        if self._sock is not None:
            self._sock.close()

    async def _stop_accepting(self) -> None:
        """No new connection from now on. Those being accepted come in first: at a closed server asyncio leaks them."""
        if self._sock is not None and self._sock.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self._sock)
        for _ in range(ACCEPT_TURNS):
            await asyncio.sleep(0)


def _protocol(allowed: Callable[[Credentials], bool], most: int) -> type[Framed]:
    class CheckedProtocol(Bounded):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            sock = transport.get_extra_info("socket")
            if sock.family == socket.AF_UNIX and not allowed(credentials(sock)):
                transport.abort()

    return bounded(CheckedProtocol, most)


class AdminServer:
    """The API's socket. `heal` binds it anew when its file was removed. `group` is the file's, -1 for none."""

    def __init__(self, path: Path, app: ASGIApp, allowed: Callable[[Credentials], bool]) -> None:
        self._path, self._app, self._allowed = path, app, allowed
        self._server: Embedded | None = None
        self._inode, self.group = 0, -1

    async def open(self) -> None:
        """Starts serving; requests are answered when this returns. Raises OSError."""
        sock = await asyncio.to_thread(self._bind)
        most = descriptors.connections(MAX_CONNECTIONS, SHARE)
        self._server = Embedded("api.sock", self._app, _protocol(self._allowed, most), most + 1)
        await self._server.open(sock)

    def _bind(self) -> socket.socket:
        self._path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        sock, found = bind(self._path), os.stat(self._path)
        self._inode, self.group = found.st_ino, found.st_gid
        return sock

    def in_place(self) -> bool:
        """Looks whether the socket file is ours and served, and whose group it has; not on the event loop."""
        if self._server is None or not self._server.alive:
            return False
        with suppress(OSError):
            found = os.stat(self._path)
            if found.st_ino == self._inode:
                self.group = found.st_gid
                return True
        return False

    async def heal(self) -> bool:
        """Binds anew when the socket file was removed or replaced, or its server ended; True when it had to."""
        if await asyncio.to_thread(self.in_place):
            return False
        await self.close()
        await self.open()
        return True

    async def answers(self, seconds: float) -> bool:
        """Whether the API answers over its socket, as a client sees it."""
        try:
            async with asyncio.timeout(seconds):
                reader, writer = await asyncio.open_unix_connection(str(self._path))
                try:
                    writer.write(b"GET /health HTTP/1.1\r\nHost: modelward\r\nConnection: close\r\n\r\n")
                    return (await reader.readline()).startswith(b"HTTP/1.1 200 ")
                finally:
                    writer.close()
        except (OSError, TimeoutError, ValueError):
            return False

    async def close(self) -> None:
        if self._server is None:
            return
        await self._server.close()
        self._server = None
        with suppress(TimeoutError):
            async with asyncio.timeout(SHUTDOWN_SECONDS):
                await asyncio.to_thread(self._remove)

    def _remove(self) -> None:
        if self.in_place():
            self._path.unlink(missing_ok=True)
