"""Where one HTTP/1.1 request ends and the next begins, for every port of ours: uvicorn's protocol, made strict.

An upgrade that is not accepted is ignored, and its body belongs to its request (RFC 9110 7.8). An accepted one ends
HTTP on its connection. A head that two readers could read in two ways is refused and the connection ends: both kinds of
length, several lengths or hosts, other codings than chunked. Trailers are dropped. It must not interpret a request.
Invariant: no byte of a body is ever read as a request. Built against uvicorn 0.54 and httptools 0.9: the overridden
methods are the parser's callbacks.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from typing import Any, Final

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from .lingering_close import Lingering

Headers = Iterable[tuple[bytes, bytes]]

VERSIONS: Final = frozenset({"1.0", "1.1"})
MAX_HEAD_BYTES: Final = 64 * 1024
"""For a head, a trailer or a chunk's extension without an end. A read may exceed it by its own size."""
REASONS: Final = {
    400: "it is not valid HTTP/1.1",
    408: "its head did not come in time",
    431: "its head is too large",
}


class Faulty(Exception):
    """A request that is refused because of its head; ends parsing. The text gives the reason."""


class AfterLastRequest(Exception):
    """More bytes after the last request of a connection; ends parsing."""


def fault_in(version: str, method: bytes, headers: Headers) -> str:
    """Why this head is refused, "" when there is one way to read it. Pure; names are in lower case."""
    named = [(name, value.strip()) for name, value in headers if name in _FRAMING]
    lengths, codings, hosts = ([value for name, value in named if name == key] for key in _FRAMING)
    if version not in VERSIONS:
        return f"HTTP/{version} is not supported here"
    if method == b"CONNECT":
        return "CONNECT is not for this port"
    if len(hosts) > 1 or (version == "1.1" and not hosts):
        return "it has to name one Host"
    if codings and (lengths or version == "1.0"):
        return "Transfer-Encoding is not for HTTP/1.0, and never beside Content-Length"
    if codings and [coding.lower() for coding in codings] != [b"chunked"]:
        return "the only Transfer-Encoding is chunked"
    if len(lengths) > 1 or not all(length.isdigit() for length in lengths):
        return "Content-Length has to be one number"
    return ""


_FRAMING: Final = (b"content-length", b"transfer-encoding", b"host")


def _fields(body: bytes) -> list[tuple[bytes, bytes]]:
    return [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]


class Framed(HttpToolsProtocol):
    """One connection. Bytes that are no request are answered after the requests before them, and end the connection."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._again = False  # a new parser gets again what the old one knew before an upgrade
        self._in_body = False
        self._last = False  # this request is the last of its connection
        self._over = self._no_request = False
        self._progress = False
        self._endless_bytes = 0
        self._fault = ""
        self._upgrading = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.transport = Lingering(  # type: ignore[assignment]
            transport, lambda: self._in_body or self._no_request, self.lingering_began
        )

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport.ended()  # type: ignore[attr-defined]
        super().connection_lost(exc)

    def lingering_began(self) -> None:
        """The connection ended for its client, which may still send."""

    def data_received(self, data: bytes) -> None:
        """Feeds the parser, once more after each upgrade that interrupts it."""
        self._unset_keepalive_if_required()
        if self._over or self.transport.is_closing():
            self.transport.drop(len(data))  # type: ignore[attr-defined]
            return
        rest, self._progress = memoryview(data), False
        try:
            while rest:
                try:
                    self.parser.feed_data(rest)
                    break
                except httptools.HttpParserUpgrade as upgrade:
                    rest = rest[upgrade.args[0] :]
                    if self._upgrading:
                        self._over = True
                        self.upgrade(len(rest))
                        return
                    self._ignore_upgrade()
        except httptools.HttpParserError as e:
            if not isinstance(e.__context__, AfterLastRequest):
                self._fault = str(e.__context__) if isinstance(e.__context__, Faulty) else ""
                self.send_400_response("")
            return
        self._endless_bytes = 0 if self._progress else self._endless_bytes + len(data)
        if self._endless_bytes > MAX_HEAD_BYTES:
            self.refuse(431)

    # refusals

    def send_400_response(self, msg: str) -> None:
        """Called when the parser gave up; uvicorn's text is not used."""
        self.refuse(400)

    def refuse(self, status: int) -> None:
        """Answers bytes that are no request, once everything before them was answered, and closes; reads no more."""
        self._over = self._no_request = True
        reason = f"cannot read the request: {self._fault or REASONS[status]}"
        body = json.dumps(
            {"error": {"message": reason, "type": "invalid_request_error", "code": "bad_request", "param": None}}
        ).encode()
        waits = bool(self.pipeline) and self.pipeline[0][0] is self.cycle
        if self.cycle is None or self.cycle.response_complete:
            self._write(status, body)
        elif self._in_body and not waits:  # the current answer is cut off
            if not self.cycle.response_started:
                self._write(status, body)
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            self.transport.close()
        else:
            if self._in_body:
                self.pipeline.popleft()  # this is the refused request
            self._write_later(status, body)

    def _write(self, status: int, body: bytes) -> None:
        fields = b"".join(b"%s: %s\r\n" % field for field in _fields(body))
        self.transport.write(b"".join((STATUS_LINE[status], fields, b"connection: close\r\n\r\n", body)))
        self.transport.close()

    def _write_later(self, status: int, body: bytes) -> None:
        async def answer(scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": status, "headers": _fields(body)})
            await send({"type": "http.response.body", "body": body})

        self.cycle = RequestResponseCycle(
            scope={"method": "GET", "http_version": "1.1"},  # type: ignore[typeddict-item]
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=[],
            message_event=asyncio.Event(),
            expect_100_continue=False,
            keep_alive=False,
            on_response=self.on_response_complete,
        )
        self.pipeline.appendleft((self.cycle, answer))

    # upgrades

    def takes_upgrade(self) -> bool:
        """Whether the requested upgrade is accepted; then the request has no body."""
        return False

    def upgrade(self, more_bytes: int) -> None:
        """HTTP is over on this connection. So many bytes came after the head already, and are dropped."""
        raise NotImplementedError

    def _should_upgrade(self) -> bool:
        return self._upgrading

    def _ignore_upgrade(self) -> None:
        """The parser takes what follows for another protocol. So a new parser continues, which gets the length of the
        body.
        """
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does; `Over` watches it
        length = [b"%s: %s\r\n" % field for field in self.headers if field[0] in _FRAMING[:2]]
        self._again = True
        try:
            self.parser.feed_data(b"".join((b"POST / HTTP/1.1\r\n", *length, b"\r\n")))
        finally:
            self._again = False

    # parser

    def on_message_begin(self) -> None:
        if self._again:
            return
        if self._over:
            raise AfterLastRequest
        self._in_body = False
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        if not self._again:
            super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._again and not self._in_body:  # a trailer is no header: it came after the header was read
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self._again:
            return
        self._progress = True
        if fault := fault_in(self.parser.get_http_version(), self.parser.get_method(), self.headers):
            raise Faulty(fault)
        self._upgrading = self.parser.should_upgrade() and self.takes_upgrade()
        super().on_headers_complete()
        if self._upgrading:
            return
        self._in_body, self._last = True, not self.cycle.keep_alive

    def on_body(self, body: bytes) -> None:
        self._progress = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade():
            return  # only its head is complete
        self._progress, self._over, self._in_body = True, self._last, False
        super().on_message_complete()

    def _unsupported_upgrade_warning(self) -> None:
        """Logs nothing: an upgrade may be offered."""
