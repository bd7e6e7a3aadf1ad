"""The daemon's hold on the socket that clients connect to, however it came by it.

Accepts nothing itself. Invariant: a former worker's socket is taken before a new one is bound, and at most one is held.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final

import structlog

from .. import systemd
from . import listening

RETURN_SECONDS: Final = 5.0
"""What a starting daemon gives the workers of a former one to come back with the socket."""


class Entrance:
    """See the module. `listen` is the address as configured; `environ` is where systemd speaks."""

    def __init__(self, listen: Callable[[], str], environ: Mapping[str, str]) -> None:
        self._listen, self._environ = listen, environ
        self.sock: socket.socket | None = None
        self._offered = asyncio.Event()
        self._log = structlog.get_logger("supervisor")

    async def open(self, *, returning: bool) -> None:
        """systemd's socket, a former worker's when some are `returning`, or a new one. Raises CannotListen."""
        given = systemd.listen_sockets(self._environ, os.getpid())
        if given:
            self.sock = given.get("http") or next(iter(given.values()))
            self.sock.setblocking(False)
            self._log.info("listening on the service manager's socket", address=str(self.sock.getsockname()))
            return
        if returning:
            with suppress(TimeoutError):
                async with asyncio.timeout(RETURN_SECONDS):
                    await self._offered.wait()
        if self.sock is None:
            self.sock = listening.bind(self._listen())
        self._log.info("listening", address=self._listen())

    def take(self, fd: int, *, wanted: bool) -> None:
        """A worker hands over what it listens on; closed when it is not `wanted`, or there is one already."""
        if self.sock is not None or not wanted:
            os.close(fd)
            return
        self.sock = listening.adopt(fd, self._listen())
        if self.sock is not None:
            self._log.info("listening socket taken back from a worker")
            self._offered.set()

    def close(self) -> None:
        """Workers that hold it go on."""
        if self.sock is not None:
            self.sock.close()
