"""Accepts connections from the listening socket that all workers share, and leaves it without losing a request.

It replaces uvicorn's own server. That one ticks ten times a second and accepts every waiting connection at once. At
shutdown it closes idle connections even when a request is on its way. This module must not read signals. Invariants: at
rest nothing wakes up. A worker with requests in work lets other workers accept a new connection first. Draining answers
every request that reached a connection of this worker.
"""

from __future__ import annotations

import asyncio
import errno
import select
import socket
from collections.abc import Callable
from functools import partial
from typing import Any, Final, cast

import structlog
from uvicorn.server import ServerState

from ..shared.started import awaited
from .connection import Connection, ConnectionLimits, server_config

YIELD_SECONDS: Final = 0.0015  # for each request in work
LONGEST_YIELD_SECONDS: Final = 0.020
BURST_SECONDS: Final = 0.002  # another connection that soon may be taken by a sibling
UNABLE_SECONDS: Final = 0.25  # a worker without a model is the last to take a connection
TAKEN_AT_ONCE: Final = 16
LAST_TAKEN: Final = 256  # of the backlog, when this worker leaves
NO_DESCRIPTOR_SECONDS: Final = 0.25
REFUSING_SECONDS: Final = 5.0
IDLE_GRACE_SECONDS: Final = 1.0
LINGERING_PART: Final = 8
"""One part in this many of the limit is allowed on top of it for connections that linger."""
DRAIN_LOOK_SECONDS: Final = 0.02
EXHAUSTED: Final = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class Front:
    """The worker's side of the port. All methods belong to the event loop.

    `busy` returns how many requests are in work, `able` whether there is a model that can answer. `refused` is called
    for what never became a request. `make_room` ends a request that has cost its client nothing; False where there is
    none.
    """

    def __init__(
        self,
        app: Any,
        listener: socket.socket,
        *,
        log: structlog.typing.FilteringBoundLogger,
        busy: Callable[[], int] = lambda: 0,
        able: Callable[[], bool] = lambda: True,
        refused: Callable[[str, int], None] = lambda client, status: None,
        make_room: Callable[[], bool] = lambda: False,
        limits: ConnectionLimits = ConnectionLimits(),  # noqa: B008 - frozen
    ) -> None:
        self.draining = self.leaving = False
        self._state = ServerState()
        self._config = server_config(app, limits)
        self._listener: socket.socket | None = listener
        self._limits, self._busy, self._able, self._refused, self._log = limits, busy, able, refused, log
        self._make_room = make_room
        self._loop = asyncio.get_running_loop()
        self._taking = False
        self._pause: asyncio.TimerHandle | None = None
        self._last_taken = 0.0
        self._joining: set[asyncio.Task[Any]] = set()
        self._held = 0
        self._lingering: dict[Connection, None] = {}
        self._starved = False
        self._full_since: float | None = None

    @property
    def connections(self) -> list[Connection]:
        """The open connections."""
        return self._open_connections()

    @property
    def listener(self) -> socket.socket | None:
        """The listening socket while it is held, to hand to a daemon that comes back."""
        return self._listener

    def open(self) -> None:
        """Starts to accept connections. Does nothing when it already does, or while draining."""
        if self._listener is not None and not self._taking and self._pause is None and not self.draining:
            self._watch()

    # accepting

    def _watch(self) -> None:
        assert self._listener is not None
        self._taking = True
        self._loop.add_reader(self._listener.fileno(), self._readable)

    def _unwatch(self) -> None:
        if self._taking and self._listener is not None:
            self._loop.remove_reader(self._listener.fileno())
        self._taking = False

    def _readable(self) -> None:
        """A connection waits: accept it at once, or later if another worker may be less busy."""
        wait = min(LONGEST_YIELD_SECONDS, YIELD_SECONDS * self._busy()) if self._able() else UNABLE_SECONDS
        if self._loop.time() - self._last_taken < BURST_SECONDS:
            wait = max(wait, BURST_SECONDS / 2)
        if wait:
            self._later(wait)
        else:
            self._take(1)

    def _later(self, seconds: float) -> None:
        self._unwatch()
        self._pause = self._loop.call_later(seconds, self._again)

    def _again(self) -> None:
        self._pause = None
        if self._listener is None:
            return
        if self._take(TAKEN_AT_ONCE):
            self._watch()

    def _take(self, most: int) -> bool:
        """Accepts up to `most` connections. False when it has to pause."""
        assert self._listener is not None
        for _ in range(most):
            if self._held >= self._limits.connections and not self._has_room():
                return False
            try:
                connection, _address = self._listener.accept()
            except (BlockingIOError, InterruptedError):
                self._full_since = None  # no connection waits
                return True
            except OSError as e:
                if e.errno not in EXHAUSTED:
                    return True  # ECONNABORTED and the like: this client is gone, the next one is not
                self._exhausted(e)
                return False
            self._starved, self._full_since = False, None
            self._last_taken = self._loop.time()
            self._join(connection)
        return True

    def _has_room(self) -> bool:
        """At the limit, whether one more connection may be accepted now. If not, one is asked to end first, if
        any can.
        """
        while len(self._lingering) > self._limits.connections // LINGERING_PART:
            next(iter(self._lingering)).cut()
        if self._held - len(self._lingering) < self._limits.connections or not self._waits() or self._shed():
            return True
        if self._make_room():
            self._later(0.0)  # what makes room is answered first
            return False
        self._full()
        return False

    def _waits(self) -> bool:
        """Whether a connection waits to be accepted; another worker may have accepted it."""
        assert self._listener is not None
        poll = select.poll()
        poll.register(self._listener, select.POLLIN)
        return bool(poll.poll(0))

    def _full(self) -> None:
        if self._full_since is None:
            self._full_since = self._loop.time()
        self._later(NO_DESCRIPTOR_SECONDS)

    def refusing(self) -> str:
        """Why a new connection would not be accepted, once that lasts; "" otherwise."""
        if self._full_since is None or self._loop.time() - self._full_since < REFUSING_SECONDS:
            return ""
        return f"all {self._limits.connections} connections are taken"

    def _exhausted(self, e: OSError) -> None:
        if self._full_since is None:
            self._full_since = self._loop.time()
        if not self._starved:
            self._log.error("cannot accept connections: " + (e.strerror or str(e)) + "; trying again")
        self._starved = True
        self._shed()
        self._later(NO_DESCRIPTOR_SECONDS)

    def _quiet(self) -> list[Connection]:
        """Connections with nothing under way, the longest silent first."""
        silent = [c for c in self._open_connections() if c.idle and not c.transport.is_closing()]
        return sorted(silent, key=lambda c: c.quiet_since)

    def _shed(self) -> bool:
        """Closes the connection that has been silent longest. What its client has not read by now is dropped.

        False when there is none.
        """
        for connection in self._quiet():
            if connection.close_if_idle():
                if connection.unread_bytes:
                    connection.cut()
                return True
        return False

    def _join(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        if connection.family != socket.AF_UNIX:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # A client that never reads its answer must not hold it for ever.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, self._limits.unread_seconds * 1000)
        self._held += 1
        task = awaited(self._loop.connect_accepted_socket(self._protocol, connection))
        self._joining.add(task)
        task.add_done_callback(partial(self._joined, connection))

    def _protocol(self) -> Connection:
        return Connection(self._config, self._state, self._limits, self._refused, self._lost, self._lingering)

    def _joined(self, connection: socket.socket, task: asyncio.Task[Any]) -> None:
        self._joining.discard(task)
        if task.cancelled():
            connection.close()  # the loop ended before it became a connection: no other code closes it
        elif task.exception() is not None:
            self._held -= 1  # it was gone before it became a connection

    def _lost(self) -> None:
        self._held -= 1

    def _open_connections(self) -> list[Connection]:
        return [cast(Connection, c) for c in self._state.connections]

    # leaving

    def _leave_port(self) -> None:
        """Accepts what waits already, then closes our copy of the listening socket. The port stays with the other
        workers.
        """
        self._unwatch()
        self._no_pause()
        if self._listener is None:
            return
        self._take(LAST_TAKEN)
        self._no_pause()
        self._listener.close()
        self._listener = None

    def _no_pause(self) -> None:
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None

    async def give_notice(self, seconds: float) -> None:
        """Goes on accepting for this time, while every answer asks its client to connect elsewhere."""
        self.leaving = True
        await asyncio.sleep(seconds)

    async def drain(self, seconds: float) -> int:
        """Answers every request on its way, within `seconds`; returns how many connections are left.

        Meanwhile every answer has `Connection: close`. A silent kept-alive connection gets IDLE_GRACE_SECONDS for its
        next request, then it is closed, unless bytes wait in it.
        """
        deadline = self._loop.time() + seconds
        self.draining = self.leaving = True
        self._leave_port()
        grace = min(self._loop.time() + IDLE_GRACE_SECONDS, deadline)
        while (self._state.connections or self._joining) and self._loop.time() < deadline:
            if self._loop.time() >= grace:
                for connection in self._open_connections():
                    connection.close_if_idle()
            await asyncio.sleep(DRAIN_LOOK_SECONDS)
        return len(self._state.connections)

    def cut(self) -> int:
        """Ends every connection at once, also those that are being set up, and accepts no more. Returns how many there
        were.
        """
        self.draining = self.leaving = True
        self._unwatch()
        self._no_pause()
        for task in self._joining:
            task.cancel()
        left = self._open_connections()
        for connection in left:
            connection.transport.abort()
        return len(left)
