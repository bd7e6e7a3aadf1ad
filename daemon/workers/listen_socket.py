"""Holds the socket that clients connect to: given by systemd, taken back from a worker, or bound anew.

It accepts no connection itself. Invariant: it takes a former worker's socket before it binds a new one, and it holds at
most one.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import structlog

from ...worker.shared.started import awaited
from ..system import systemd, tcp_listener
from .replacement import LOST_SECONDS

RETURN_SECONDS: Final = 5.0
"""How long a starting daemon waits for a former daemon's workers to return the socket."""


class ListenSocket:
    """See the module. `listen` is the address as configured; `environ` holds the variables that systemd set.

    `lost_seconds` is how long to wait for workers that hold the address and do not return it.
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
        self._former: socket.socket | None = None  # from a worker, bound to another address than configured
        self._activated = False
        self._resolved: tuple[str, tcp_listener.Place | None] = ("", None)
        self._offered, self._other_offered = asyncio.Event(), asyncio.Event()
        self._log = structlog.get_logger("supervisor")

    async def open(self, *, returning: bool, end_lost: Callable[[], Awaitable[None]]) -> None:
        """Takes systemd's socket, a former worker's when some are `returning`, or binds a new one. Raises CannotListen.

        `end_lost` ends the former workers that did not join. It is called when one of them may hold the address.
        """
        given = systemd.listen_sockets(self._environ, os.getpid())
        if given:
            self.sock = given.get("http") or next(iter(given.values()))
            self.sock.setblocking(False)
            self._activated = True
            self._log.info("listening on the service manager's socket", address=str(self.sock.getsockname()))
            return
        listen = self._listen()
        self._resolved = listen, await asyncio.to_thread(tcp_listener.resolve, listen)
        if returning:
            await self._wait(self._return_seconds, or_other=True)
        if self.sock is None:
            try:
                await self._bind()
            except tcp_listener.AddressInUse as e:
                if not returning:
                    raise
                self._log.warning("waiting for a worker that did not come back yet", because=str(e))
                await self._win(end_lost)
        if self._former is not None:
            self._former.close()
            self._former = None
        self._log.info("listening", address=self.address)

    @property
    def address(self) -> str:
        """The address that the socket is bound to; "" while there is none."""
        return tcp_listener.name_of(self.sock) if self.sock is not None else ""

    async def move(self, listen: str) -> str:
        """Listens on another address, for workers that start from now on. Running workers keep the former one.

        Returns a remark for the operator, "" for none. Raises CannotListen; then the former socket stays.
        """
        if self._activated:
            return "workers.listen does not count: the socket belongs to the service manager"
        held = self.sock
        found = await asyncio.to_thread(tcp_listener.bind_elsewhere, held, listen) if held is not None else None
        if held is not None and found is not None:
            self.sock = found
            held.close()
            self._log.info("listening", address=self.address)
        return ""

    def _beside(self) -> tuple[socket.socket, ...]:
        return (self._former,) if self._former is not None else ()

    async def _win(self, end_lost: Callable[[], Awaitable[None]]) -> None:
        """Takes the address from a worker that hangs. Nothing else would end that worker, and no daemon could start."""
        await self._wait(self._lost_seconds - self._return_seconds)
        if self.sock is None:
            await end_lost()
        if self.sock is None:
            await self._bind()

    async def _bind(self) -> None:
        """Binds a new socket, unless a worker offers one meanwhile. Raises CannotListen."""
        try:
            sock = await asyncio.to_thread(tcp_listener.bind, self._listen(), self._beside())
        except tcp_listener.CannotListen:
            if self.sock is None:
                raise
            return
        if self.sock is None:
            self.sock = sock
        else:
            sock.close()

    async def _wait(self, seconds: float, *, or_other: bool = False) -> None:
        events = [self._offered, self._other_offered] if or_other else [self._offered]
        waiting = [awaited(event.wait(), "wait for the listening socket") for event in events]
        await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()

    def take(self, fd: int, *, wanted: bool) -> None:
        """Takes the listening socket of a worker. Closes it when it is not `wanted`, or when there is one already.

        A socket at another address than configured is kept until ours is bound too.
        """
        if self.sock is not None or not wanted:
            os.close(fd)
            return
        sock = tcp_listener.adopt(fd)
        if sock is None:
            return
        listen, found = self._listen(), self._resolved
        if tcp_listener.is_at(sock, listen, found[1] if found[0] == listen else None):
            self.sock = sock
            self._log.info("listening socket taken back from a worker")
            self._offered.set()
        elif self._former is None:
            self._former = sock
            self._other_offered.set()
        else:
            sock.close()

    def close(self) -> None:
        """Closes our descriptor. Workers that hold the socket continue."""
        for sock in (self.sock, self._former):
            if sock is not None:
                sock.close()
