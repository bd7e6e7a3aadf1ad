"""Raw bytes on a connection, in any pieces: the requests that come out are those that h11 reads, or it is refused.

h11 is another parser in another language by other people: where both find the same requests in the same bytes, nothing
is smuggled past the one that looks.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterable
from typing import Any

import h11
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.fuzz.strategies import altered, fuzzed
from uvicorn.config import Config
from uvicorn.server import ServerState

from modelward.daemon.panel.connection_limits import limited
from modelward.worker.http.connection import Connection, ConnectionLimits, server_config
from modelward.worker.shared.http_framing import Framed

Request = tuple[str, bytes, bytes, tuple[tuple[bytes, bytes], ...]]  # method, target, body, fields

SMUGGLED = b"POST /smuggled HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
UPGRADE = (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA")
ODD_FIELDS = (
    b"Connection: close", b"Connection: keep-alive", b"Connection: upgrade", b"Upgrade: websocket", b"X-A: 1",
    b"Content-Length: 0", b"Content-Length: 5", b"Content-Length: 5, 5", b"Content-Length: +5", b"Content-Length: 0x5",
    b"Content-Length:\t5", b"Content-Length : 5", b"Content-Length: -1", b"Content-Length: 18446744073709551617",
    b"Transfer-Encoding: chunked", b"Transfer-Encoding: CHUNKED", b"Transfer-Encoding: gzip, chunked",
    b"Transfer-Encoding: chunked, chunked", b"Transfer-Encoding: identity", b"Transfer-Encoding:\x0bchunked",
    b"Transfer-Encoding : chunked", b" Transfer-Encoding: chunked", b"X-A: 1\r\n folded: 2",
    b"X-A: 1\r\n\tContent-Length: 5", b"X-\x00: 1", b"X-A: \x00", b"X-A: \xff", b": 1", b"X-A",
    b"Content_Length: 5", b"Host: second", b"Expect: 100-continue",
    b"X-A: 1\rTransfer-Encoding: chunked", b"X-A: 1\nTransfer-Encoding: chunked",
)  # fmt: skip
BODIES = (b"", b"hello", SMUGGLED, b"\r\n" * 20 + SMUGGLED, b"0\r\n\r\n" + SMUGGLED, bytes(300))
SIZES = (b"%x", b"%X", b"0%x", b"%x;name=value", b'%x;a="\r\n"', b" %x", b"%x ", b"0x%x", b"+%x", b"%x\t")
TRAILERS = (b"", b"", b"X-Trailer: 1\r\n", b"Content-Length: 9\r\nHost: second\r\n", b" folded\r\n")


_SOCKET = socket.socket()  # for the options that a protocol sets


class Wire(asyncio.Transport):
    """A connection in memory: what is written is kept, reading may be paused."""

    def __init__(self) -> None:
        names = {"peername": ("192.0.2.1", 4000), "sockname": ("192.0.2.2", 80)}
        super().__init__({**names, "socket": _SOCKET})
        self.sent = bytearray()
        self.closed = self.paused = False

    def write(self, data: Any) -> None:
        if not self.closed:
            self.sent += data

    def close(self) -> None:
        self.closed = True

    abort = close

    def is_closing(self) -> bool:
        return self.closed

    def can_write_eof(self) -> bool:
        return False

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False


class Recorder:
    """An application that keeps every request that came in whole."""

    def __init__(self) -> None:
        self.requests: list[Request] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        fields, body, more = tuple(scope["headers"]), b"", True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                return
            body, more = body + message["body"], message["more_body"]
        query = b"?" + scope["query_string"] if scope["query_string"] else b""
        self.requests.append((scope["method"], scope["raw_path"] + query, body, _fields(fields)))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})


def _fields(fields: Iterable[tuple[bytes, bytes]]) -> tuple[tuple[bytes, bytes], ...]:
    return tuple((name.lower(), value.strip(b" \t").lower()) for name, value in fields)


def _service(config: Config) -> Framed:
    return Connection(config, ServerState(), ConnectionLimits(), lambda client, status: None, lambda: None, {})


def _panel(config: Config) -> Framed:
    return limited(8)(config, ServerState(), {}, asyncio.get_running_loop())


async def ours(pieces: Iterable[bytes], protocol: Callable[[Config], Framed]) -> tuple[list[Request], bytes, bool]:
    """The requests, what was answered, and whether the connection was closed."""
    app, wire = Recorder(), Wire()
    connection = protocol(server_config(app, ConnectionLimits()))
    connection.connection_made(wire)
    for piece in pieces:
        await _rest(wire)
        if wire.closed:
            break
        connection.data_received(piece)
    await _rest(wire)
    closed = wire.closed
    connection.connection_lost(None)
    await asyncio.sleep(0)
    return app.requests, bytes(wire.sent), closed


async def _rest(wire: Wire) -> None:
    """Returns when nothing goes on any more."""
    quiet, before = 0, -1
    while quiet < (400 if wire.paused and not wire.closed else 6):
        await asyncio.sleep(0)
        quiet, before = (quiet + 1 if len(wire.sent) == before else 0), len(wire.sent)


def h11_reads(data: bytes) -> list[Request]:
    """The whole requests in these bytes as h11 finds them, up to the first that it refuses.

    Empty lines before a request are passed over (RFC 9112 2.2), which h11 does not do by itself.
    """
    found: list[Request] = []
    while data := data.lstrip(b"\r\n"):
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
        connection.receive_data(data)
        try:
            request = _next(connection)
        except h11.RemoteProtocolError:
            return found
        if request is None:
            return found
        found.append(request)
        connection.send(h11.Response(status_code=405, headers=[("content-length", "0")]))
        connection.send(h11.EndOfMessage())
        if connection.our_state is not h11.DONE:
            return found
        data = connection.trailing_data[0]
    return found


def _next(connection: h11.Connection) -> Request | None:
    head, body = None, b""
    while True:
        event = connection.next_event()
        if isinstance(event, h11.Request):
            head = event
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage) and head is not None:
            return head.method.decode(), head.target, body, _fields(head.headers.raw_items())
        else:
            return None


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """One request, most often a right one, often with an upgrade that is offered."""
    method = draw(st.sampled_from((b"POST", b"POST", b"GET", b"PUT", b"HEAD", b"OPTIONS") * 4 + (b"CONNECT",)))
    version = draw(st.sampled_from((b"1.1",) * 30 + (b"1.0", b"0.9", b"2.0", b"1.2")))
    target = draw(st.sampled_from((b"/", b"/api/predict", b"/a?b=c", b"/%2e%2e/")))
    fields = [] if not draw(st.integers(0, 30)) else [b"Host: x"]
    fields += list(UPGRADE) if draw(st.booleans()) else []
    body, length = (
        draw(st.sampled_from(BODIES)),
        draw(st.sampled_from(("length", "chunked") * 3 + ("none", "less", "both"))),
    )
    if length in ("length", "both"):
        fields.append(b"Content-Length: %d" % len(body))
    if length == "less":
        fields.append(b"Content-Length: %d" % (len(body) // 2))
    if length in ("chunked", "both"):
        fields.append(b"Transfer-Encoding: chunked")
        body = draw(chunks(body))
    fields += draw(st.lists(st.sampled_from(ODD_FIELDS), max_size=2)) if not draw(st.integers(0, 2)) else []
    fields = draw(st.permutations(fields))
    end = draw(st.sampled_from((b"\r\n",) * 40 + (b"\n", b"\r", b"\r\r\n")))
    return end.join((b"%s %s HTTP/%s" % (method, target, version), *fields, b"", body))


@st.composite
def chunks(draw: st.DrawFn, body: bytes) -> bytes:
    """A body in chunks, most often as they should be."""
    odd, out = not draw(st.integers(0, 3)), b""
    while body:
        size = draw(st.integers(1, len(body)))
        out += (draw(st.sampled_from(SIZES)) if odd else b"%x") % size + b"\r\n" + body[:size] + b"\r\n"
        body = body[size:]
    return out + b"0\r\n" + (draw(st.sampled_from(TRAILERS)) if odd else b"") + b"\r\n"


@st.composite
def connections(draw: st.DrawFn) -> bytes:
    """What comes over one connection: some requests, now and then with bytes changed."""
    data = b"".join(draw(st.lists(requests(), min_size=1, max_size=4)))
    return data if draw(st.integers(0, 3)) else draw(altered(data))


CUTS = st.one_of(st.just([]), st.lists(st.floats(0, 1), max_size=6), st.none())


def _pieces(data: bytes, cuts: list[float] | None) -> list[bytes]:
    """`data` cut at these shares of it; None: into single bytes."""
    if cuts is None:
        return [data[at : at + 1] for at in range(len(data))]
    places = sorted({0, len(data), *(int(cut * len(data)) for cut in cuts)})
    return [data[begin:end] for begin, end in zip(places, places[1:], strict=False)]


def _upgraded(body: bytes, *more: bytes) -> bytes:
    head = (b"POST /a HTTP/1.1", b"Host: x", *UPGRADE, *more, b"Content-Length: %d" % len(body), b"", b"")
    return b"\r\n".join(head) + body


@pytest.mark.parametrize("protocol", [_service, _panel])
@fuzzed(500)
@given(connections(), CUTS)
@example(_upgraded(SMUGGLED), [0.9])
@example(_upgraded(SMUGGLED) * 3, None)
@example(_upgraded(b"\r\n" * 200 + SMUGGLED), None)
@example(_upgraded(b"", b"Connection: close") + SMUGGLED, [])
@example(b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", [])
@example(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nHost: y\r\n\r\n" + SMUGGLED, None)
def test_the_same_requests_come_out_as_h11_reads_or_the_connection_is_refused(
    protocol: Callable[[Config], Framed], data: bytes, cuts: list[float] | None
) -> None:
    found, answers, closed = asyncio.run(ours(_pieces(data, cuts), protocol))
    expected = h11_reads(data)
    assert found == expected[: len(found)]
    if len(found) < len(expected):
        assert closed and answers.rpartition(b"HTTP/1.1 ")[2][:1] == b"4"
    statuses = [line.split()[1] for line in answers.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")]
    final = [status for status in statuses if status != b"100"]
    assert final[: len(found)] == [b"200"] * len(found) and len(final) <= len(found) + 1
