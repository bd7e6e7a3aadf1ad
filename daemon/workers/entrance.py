"""The daemon's hold on the socket that clients connect to, however it came by it.

Accepts nothing itself. Invariant: a former worker's socket is taken before a new one is bound, and at most one is held.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Final

import structlog

from .. import systemd
from . import listening
from .outdated import LOST_SECONDS

RETURN_SECONDS: Final = 5.0
"""What a starting daemon gives the workers of a former one to come back with the socket."""


class Entrance:
    """See the module. `listen` is the address as configured; `environ` is where systemd speaks.

    `lost_seconds` is what those get who hold the address and do not come back with it.
    """

    def __init__(
        self,
        listen: Callable[[], str],
        environ: Mapping[str, str],
        *,
        return_seconds: float = RETURN_SECONDS,
        lost_seconds: float = LOST_SECONDS,
    ) -> None:
        self._listen, self._environ = listen, environ
        self._return_seconds, self._lost_seconds = return_seconds, lost_seconds
        self.sock: socket.socket | None = None
        self._offered = asyncio.Event()
        self._log = structlog.get_logger("supervisor")

    async def open(self, *, returning: bool, end_lost: Callable[[], Awaitable[None]]) -> None:
        """systemd's socket, a former worker's when some are `returning`, or a new one. Raises CannotListen.

        `end_lost` ends the former workers that did not come back: it is called when one of them may hold the address.
        """
        given = systemd.listen_sockets(self._environ, os.getpid())
        if given:
            self.sock = given.get("http") or next(iter(given.values()))
            self.sock.setblocking(False)
            self._log.info("listening on the service manager's socket", address=str(self.sock.getsockname()))
            return
        if returning:
            await self._wait(self._return_seconds)
        if self.sock is None:
            try:
                self.sock = listening.bind(self._listen())
            except listening.AddressInUse as e:
                if not returning:
                    raise
                self._log.warning("waiting for a worker that did not come back yet", because=str(e))
                await self._win(end_lost)
        self._log.info("listening", address=self._listen())

    async def _win(self, end_lost: Callable[[], Awaitable[None]]) -> None:
        """The address, from a worker that hangs: nobody else would end it, and no daemon could start."""
        await self._wait(self._lost_seconds - self._return_seconds)
        if self.sock is None:
            await end_lost()
        if self.sock is None:
            self.sock = listening.bind(self._listen())

    async def _wait(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._offered.wait()

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
