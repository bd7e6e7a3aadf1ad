"""A connection that became a WebSocket: uvicorn's protocol over the library `websockets`, within the service's limits.

It accepts only whole handshakes, and only when no HTTP request is under way; after that no byte is read as HTTP. A
refused handshake ends the connection. It must not interpret messages. Invariants: a message, its pieces and unread data
are bounded. Each received byte is counted until it is taken. A client that does not wait for the handshake's answer is
cut off.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from uvicorn.config import Config
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.frames import Frame
from websockets.http11 import Request

from .handshake import SOCKET
from .upload_limits import Full

if TYPE_CHECKING:
    from uvicorn._types import WebSocketScope

MESSAGE_PIECES: Final = 1024
UNREAD_BYTES: Final = 256 << 10
_TRY_LATER: Final = 1013
_REASON_CHARS: Final = 120
_REFUSED: Final = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class SpeechSocket(WebSocketsSansIOProtocol):
    """One connection. `busy` while a clip is received or answered; `lost` is called at the end.

    It is cut when too much data was unread for `cut_seconds`. `weigh` is called with the bytes that were received and
    not taken, and may raise Full.
    """

    def __init__(self, config: Config, state: ServerState, lost: Callable[[], None], cut_seconds: float) -> None:
        loop = asyncio.get_running_loop()
        super().__init__(config, state, {}, loop)
        self._lost, self._cut_seconds = lost, cut_seconds
        self.busy = False
        self.quiet_since = loop.time()
        self._unread_timer: asyncio.TimerHandle | None = None
        self._unread_since = 0.0
        self.weigh: Callable[[int], None] | None = None
        self._asked: WebSocketScope | None = None  # what the handshake asked for
        self._queued = 0  # bytes of whole messages

    def begin(self, transport: asyncio.Transport, head: bytes) -> None:
        """Takes over a connection whose handshake came whole, with nothing after it."""
        self.connection_made(transport)
        transport.set_protocol(self)
        self.data_received(head)
        if not self.handshake_initiated:  # the library reads a head more strictly than HTTP's parser does
            transport.write(_REFUSED)
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._all_read()
        super().connection_lost(exc)
        self.transport.ended()  # type: ignore[attr-defined]
        self._lost()

    def pause_writing(self) -> None:
        """Too much data waits: if it is not read in time, the connection ends, even with a closing frame in it."""
        super().pause_writing()
        if self._unread_timer is None:
            self._unread_since = self.loop.time()
            self._unread_timer = self.loop.call_later(self._cut_seconds, self.cut)

    def resume_writing(self) -> None:
        """Most of it was read."""
        self._all_read()
        super().resume_writing()

    def _all_read(self) -> None:
        if self._unread_timer is not None:
            self._unread_timer.cancel()
            self._unread_timer = None

    def data_received(self, data: bytes) -> None:
        if self.handshake_initiated and not self.handshake_complete:
            self.transport.abort()
            return
        super().data_received(data)
        self._count()

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if not self.handshake_complete:
            self._asked = self.scope
            self.scope[SOCKET] = self  # type: ignore[typeddict-unknown-key]

    def send_receive_event_to_app(self) -> None:
        size, before = sum(map(len, self.frames)), self.queue.qsize()
        super().send_receive_event_to_app()
        if self.queue.qsize() > before:
            self._queued += size

    def taken(self, message: str | bytes) -> None:
        """Whoever took it counts it from now on."""
        self._queued -= _size(message)
        self._count()

    def put_back(self, message: str | bytes) -> None:
        """It was taken too early, and waits again."""
        self._queued += _size(message)
        self._count()

    def _count(self) -> None:
        if self.weigh is None or self.close_sent or self.disconnected:
            return
        try:
            self.weigh(self._queued + len(self.conn.reader.buffer) + sum(map(len, self.frames)))
        except Full as e:
            self.conn.fail(_TRY_LATER, str(e)[:_REASON_CHARS])
            self.handle_parser_exception()

    def handle_cont(self, event: Frame) -> None:
        if len(self.frames) >= MESSAGE_PIECES:
            self.conn.fail(1009, f"a message in more than {MESSAGE_PIECES} pieces")
            self.handle_parser_exception()
            return
        super().handle_cont(event)

    def handle_ping(self) -> None:
        if self.unread_bytes > UNREAD_BYTES:
            self.transport.abort()
            return
        super().handle_ping()

    # what `Front` uses of each connection

    @property
    def idle(self) -> bool:
        return not self.busy and (self.handshake_complete or not self.handshake_initiated)

    @property
    def peer(self) -> str:
        """The client's address, which a trusted proxy may have reported."""
        client = self._asked["client"] if self._asked is not None else self.client
        return client[0] if client else ""

    @property
    def unread_bytes(self) -> int:
        return self.transport.get_write_buffer_size()

    @property
    def unread_seconds(self) -> float:
        return self.loop.time() - self._unread_since if self._unread_timer is not None else 0.0

    @property
    def read_rate(self) -> float:
        return 0.0

    def cut(self) -> None:
        self._all_read()
        self.transport.abort()

    def close_if_idle(self) -> bool:
        """Ends it with the status "service restart" when nothing is under way. True when it did."""
        if not self.transport.is_closing():
            if not self.idle:
                return False
            self.shutdown()
        return True

    def is_refused(self) -> None:
        """Its handshake was answered with an error, and nothing follows."""
        self.handshake_complete = True

    def rests(self) -> None:
        """Nothing is under way from now on."""
        self.busy, self.quiet_since = False, self.loop.time()


def _size(message: str | bytes) -> int:
    return len(message.encode()) if isinstance(message, str) else len(message)
