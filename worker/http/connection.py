"""One client connection of the service: reads what `framing` defines, with limits that uvicorn does not have.

It bounds the size and the time of a request's head, and the time of silence; `http_framing` decides what is a request.
It must not read bodies.
"""

from __future__ import annotations

import asyncio
import fcntl
import struct
import termios
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import uvicorn.lifespan.off  # noqa: F401 - or it would be read when the event loop runs
from msgspec import Struct
from uvicorn.config import Config
from uvicorn.server import ServerState

from ..shared.http_framing import Framed
from .half_closed import HalfClosed
from .handshake import MESSAGE_BYTES, is_handshake, load_socket, loaded_socket

if TYPE_CHECKING:
    from .speech_socket import SpeechSocket

READ_BYTES: Final = 48 * 1024
"""Bytes read from the kernel at once. Blocks of 128 KiB and more are mapped anew for each read, and two reads make one
piece of a body. asyncio's own 256 KiB cost twice the processor time.
"""


class ConnectionLimits(Struct, frozen=True):
    """Bounds of a connection. Sizes in bytes; no zero means "none" here.

    A client that reads an answer slower than `read_rate` bytes a second for `look_seconds` is cut off.
    """

    connections: int = 1024
    head_bytes: int = 32 * 1024
    head_seconds: float = 10.0
    keep_alive_seconds: int = 75
    unread_seconds: int = 60
    look_seconds: float = 10.0
    read_rate: int = 4 * 1024


class TooLarge(Exception):
    """A request's head is over the limit; ends parsing."""


class Connection(Framed):
    """See the module. `refused` is called with (client, status) for what was answered before it became a request.

    `lost` is called at the end. The connection is in `lingering`, oldest first, from its end for its client until it is
    gone.
    """

    def __init__(
        self,
        config: Config,
        state: ServerState,
        limits: ConnectionLimits,
        refused: Callable[[str, int], None],
        lost: Callable[[], None],
        lingering: dict[Connection, None],
    ) -> None:
        loop = asyncio.get_running_loop()
        super().__init__(config, state, {}, loop)
        self._limits, self._refused, self._lost, self._lingering = limits, refused, lost, lingering
        self._head_timer: asyncio.TimerHandle | None = None
        self._head_bytes = 0
        self.quiet_since = loop.time()
        self._unread_timer: asyncio.TimerHandle | None = None
        self._unread = (0.0, 0)  # the time, and the amount at that time
        self._half_closed: HalfClosed | None = None

    # transport

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        transport.max_size = READ_BYTES  # type: ignore[attr-defined]
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_came()
        self._all_read()
        self._no_half_closed()
        self._lingering.pop(self, None)
        super().connection_lost(exc)
        self._lost()

    def eof_received(self) -> bool:  # type: ignore[override]
        """The client sends no more. True where it is owed an answer, for which the connection stays."""
        if self.idle or self._in_body or self.transport.is_closing() or self.scope["http_version"] != "1.1":
            return False
        self.cycle.keep_alive = False  # it is the last one
        self._half_closed = HalfClosed(self.transport, self._answer_has_not_begun, self.transport.abort)
        return True

    def _answer_has_not_begun(self) -> bool:
        return not self.pipeline and not self.cycle.response_started

    def _no_half_closed(self) -> None:
        if self._half_closed is not None:
            self._half_closed.end()
            self._half_closed = None

    def lingering_began(self) -> None:
        self._lingering[self] = None

    def pause_writing(self) -> None:
        """More of an answer waits than the connection should hold."""
        super().pause_writing()
        self._unread = self.loop.time(), self.unread_bytes
        if self._unread_timer is None:
            self._unread_timer = self.loop.call_later(self._limits.look_seconds, self._look_at_unread)

    def resume_writing(self) -> None:
        """Most of it was read."""
        self._all_read()
        super().resume_writing()

    def data_received(self, data: bytes) -> None:
        if self.idle:
            self._expect_head()
        super().data_received(data)

    # parser

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head_bytes = 0

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value) + 4)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self._head_came()

    def on_response_complete(self) -> None:
        self.quiet_since = self.loop.time()
        super().on_response_complete()

    def _count(self, amount: int) -> None:
        self._head_bytes += amount
        if self._head_bytes > self._limits.head_bytes:
            raise TooLarge

    # WebSockets

    def takes_upgrade(self) -> bool:
        """Accepts a WebSocket when everything before it on this connection was answered and read."""
        method = self.parser.get_method()
        return (
            self.idle
            and self._unread_timer is None
            and is_handshake(self.parser.get_http_version(), method, self.headers)
        )

    def upgrade(self, more_bytes: int) -> None:
        """As in `Framed`: the connection continues with another protocol, which takes its place in the count."""
        self._head_came()
        if more_bytes:  # a client waits for the answer to its handshake
            self.refuse(400)
            return
        if (kind := loaded_socket()) is not None:
            self._go_on_as(kind)
            return
        self.transport.pause_reading()
        loading = self.loop.run_in_executor(None, load_socket)
        loading.add_done_callback(self._socket_is_loaded)

    def _socket_is_loaded(self, loading: asyncio.Future[type[SpeechSocket]]) -> None:
        if loading.cancelled() or self.transport.is_closing():
            return
        if (error := loading.exception()) is not None:
            self.loop.call_exception_handler({"message": "cannot load the WebSockets", "exception": error})
            self._fault = "WebSockets cannot be spoken now"
            self.refuse(500)
            return
        self.transport.resume_reading()
        self._go_on_as(loading.result())

    def _go_on_as(self, kind: type[SpeechSocket]) -> None:
        self.connections.discard(self)
        head = [b"GET ", self.url, b" HTTP/1.1\r\n", *(b"%s: %s\r\n" % field for field in self.headers), b"\r\n"]
        socket = kind(self.config, self.server_state, self._lost, self._limits.unread_seconds)
        socket.begin(self.transport, b"".join(head))

    # data that the client does not read

    @property
    def peer(self) -> str:
        """The address of the client whose answer is on its way: a trusted proxy sends those of many."""
        client = self.cycle.scope.get("client") if self.cycle is not None else self.client
        return client[0] if client else ""

    @property
    def unread_bytes(self) -> int:
        """Bytes of answers that wait in this process."""
        return self.transport.get_write_buffer_size()

    @property
    def unread_seconds(self) -> float:
        """For how long an answer has been waiting."""
        return self.loop.time() - self._unread[0] if self._unread_timer is not None else 0.0

    @property
    def read_rate(self) -> float:
        """Bytes a second that the client has read of it meanwhile."""
        return (self._unread[1] - self.unread_bytes) / max(self.unread_seconds, 1e-3)

    def cut(self) -> None:
        """Ends the connection at once; unread data is dropped."""
        self._all_read()
        self._lingering.pop(self, None)
        self.transport.abort()

    def _all_read(self) -> None:
        if self._unread_timer is not None:
            self._unread_timer.cancel()
            self._unread_timer = None

    def _look_at_unread(self) -> None:
        late = self.unread_seconds > 2 * self._limits.look_seconds  # this process did not run, so no client could read
        if self.read_rate < self._limits.read_rate and not late:
            self.cut()
            return
        self._unread = self.loop.time(), self.unread_bytes
        self._unread_timer = self.loop.call_later(self._limits.look_seconds, self._look_at_unread)

    # waiting for the client

    @property
    def idle(self) -> bool:
        """Whether no request is being read or answered (the rest of the body of an answered one may still be
        coming).
        """
        return self.cycle is None or self.cycle.response_complete

    def close_if_idle(self) -> bool:
        """Closes the connection when nothing is under way and no bytes wait to be read. True when it did."""
        if self.transport.is_closing():
            return True
        if not self.idle or (not self._in_body and self._head_bytes_waiting()):
            return False
        self.transport.close()
        return True

    def timeout_keep_alive_handler(self) -> None:
        """Called when a connection was silent for the keep-alive time: closes it, unless a request came just now."""
        self.close_if_idle()

    def _head_bytes_waiting(self) -> bool:
        connection = self.transport.get_extra_info("socket")
        waiting = fcntl.ioctl(connection.fileno(), termios.FIONREAD, struct.pack("i", 0))
        return bool(struct.unpack("i", waiting)[0] > 0)

    def _expect_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(self._limits.head_seconds, self._head_late)

    def _head_came(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_late(self) -> None:
        self._head_timer = None
        if self.transport.is_closing() or not self.idle:
            return
        if self._head_bytes and self.cycle is None:
            self.refuse(408)
        else:
            self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """Called when the parser gave up."""
        self.refuse(431 if self._head_bytes > self._limits.head_bytes else 400)

    def refuse(self, status: int) -> None:
        """As in `Framed`, and reports the refusal."""
        self._refused(self.client[0] if self.client else "", status)
        super().refuse(status)


def server_config(app: Any, limits: ConnectionLimits) -> Config:
    """uvicorn's settings: no signals, no logs, no banner. What it would decide by itself is decided here."""
    config = Config(
        app,
        loop="asyncio",
        http=Connection,
        ws="none",  # uvicorn takes none by itself
        ws_max_size=MESSAGE_BYTES,
        ws_per_message_deflate=False,  # the size of unpacked data cannot be bounded beforehand
        ws_ping_timeout=None,  # pings keep proxies from timing out; TCP finds clients that are gone
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_keep_alive=limits.keep_alive_seconds,
    )
    config.load()
    return config
