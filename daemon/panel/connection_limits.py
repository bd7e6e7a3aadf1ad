"""Limits the number of connections, and the time that one may take for its request.

When there are too many, one is closed. First comes the oldest without access, from the address with the most; then one
without a request. A request's head must be complete, small and soon. uvicorn itself limits none of these. Invariant: a
request with access, and an answer to it, is never cut off here.
"""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from contextlib import suppress
from typing import Any, Final

from ..api.connection_limit import Bounded, bounded
from .loopback_user import LoopbackPeer
from .rate_limit import place

HEAD_SECONDS: Final = 15.0
MAX_HEAD_BYTES: Final = 64 * 1024
PEER: Final = "modelward.peer"
"""Where a request's scope holds what is known of its connection."""


class Limited(Bounded):
    """One connection of the panel's server."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.peer = LoopbackPeer()
        super().connection_made(transport)
        self.peer.share = place(self.client[0]) if self.client else ""
        self._head_bytes = 0
        self._deadline: asyncio.TimerHandle | None = None
        with suppress(OSError):
            _keep_alive(transport.get_extra_info("socket"))
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_came()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.busy() or self.transport.is_closing():
            return
        self._head_bytes += len(data)
        if self._head_bytes > MAX_HEAD_BYTES:
            self.transport.abort()
        self._expect_head()

    def make_room(self) -> None:
        """Closes one connection; this one when all others are being answered."""
        others = [other for other in self.room if isinstance(other, Limited) and other is not self]
        for found in (
            [other for other in others if not other.peer.admitted],
            [other for other in others if not other.busy()],
        ):
            if found:
                held = Counter(other.peer.share for other in found)
                max(found, key=lambda other: held[other.peer.share]).leave()  # the oldest of them: `room` is in order
                return
        self.leave()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope[PEER] = self.peer  # type: ignore[typeddict-unknown-key]

    def on_headers_complete(self) -> None:
        self._head_came()
        super().on_headers_complete()

    def _expect_head(self) -> None:
        if self._deadline is None:
            self._deadline = asyncio.get_running_loop().call_later(HEAD_SECONDS, self.transport.abort)

    def _head_came(self) -> None:
        self._head_bytes = 0
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def limited(most: int) -> type[Limited]:
    """The protocol of one server with at most `most` connections."""
    return bounded(Limited, most)


def _keep_alive(sock: Any) -> None:
    """Has the kernel detect that a viewer's machine is gone."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 60_000)
