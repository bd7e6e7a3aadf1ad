"""What is one request and what is two, over real connections of the service, the panel and the admin socket."""

from __future__ import annotations

import json
import re
import socket
from pathlib import Path

import pytest
from tests.fakes.admin_interface import running_panel
from tests.support import PATIENCE_SECONDS
from tests.worker.http.serving import raw, serving, wav

from modelward.worker.shared.http_framing import fault_in

OFFER = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n"
HOST = (b"host", b"x")


@pytest.mark.parametrize(
    ("version", "headers", "good"),
    [
        ("1.1", [HOST], True),
        ("1.1", [HOST, (b"content-length", b"5")], True),
        ("1.1", [HOST, (b"transfer-encoding", b"Chunked")], True),
        ("1.0", [], True),
        ("1.0", [(b"content-length", b"5")], True),
        ("1.1", [], False),
        ("1.1", [HOST, HOST], False),
        ("1.0", [HOST, (b"host", b"y")], False),
        ("0.9", [HOST], False),
        ("2.0", [HOST], False),
        ("1.0", [(b"transfer-encoding", b"chunked")], False),
        ("1.1", [HOST, (b"transfer-encoding", b"chunked"), (b"content-length", b"5")], False),
        ("1.1", [HOST, (b"transfer-encoding", b"gzip, chunked")], False),
        ("1.1", [HOST, (b"transfer-encoding", b"chunked"), (b"transfer-encoding", b"chunked")], False),
        ("1.1", [HOST, (b"content-length", b"5"), (b"content-length", b"5")], False),
        ("1.1", [HOST, (b"content-length", b"5, 5")], False),
        ("1.1", [HOST, (b"content-length", b"+5")], False),
        ("1.1", [HOST, (b"content-length", b"")], False),
        ("1.1", [HOST, (b"content-length", "\u0665".encode())], False),
    ],
)
def test_a_head_that_can_be_read_in_two_ways_is_refused(
    version: str, headers: list[tuple[bytes, bytes]], good: bool
) -> None:
    assert (fault_in(version, b"POST", headers) == "") == good
    assert fault_in(version, b"CONNECT", headers)


LAST = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"


def _asked(port: int, head: bytes, body: bytes) -> tuple[list[bytes], bytes]:
    """The statuses and all that comes back when the body is sent after the head was read, then LAST.

    "100 Continue" proves that the head was read.
    """
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS) as connection:
        connection.sendall(head)
        answer = connection.recv(65536)
        assert answer == b"HTTP/1.1 100 Continue\r\n\r\n"
        for piece in (body[:1000], body[1000:], LAST):
            connection.sendall(piece)
        answer = b""
        while more := connection.recv(65536):
            answer += more
    return re.findall(rb"HTTP/1\.1 (\d+) ", answer), answer


@pytest.mark.parametrize(
    "offer", [OFFER, b"Connection: upgrade\r\nUpgrade: TLS/1.0\r\n", b"Upgrade: websocket\r\n", b""]
)
@pytest.mark.parametrize("chunked", [False, True])
def test_an_upgrade_that_is_offered_is_ignored_and_its_body_is_read(
    tmp_path: Path, offer: bytes, chunked: bool
) -> None:
    clip = wav(0.5)
    body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(clip), clip) if chunked else clip
    length = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % len(body)
    head = b"POST /api/predict HTTP/1.1\r\nHost: x\r\nContent-Type: audio/wav\r\n%sExpect: 100-continue\r\n%s\r\n\r\n"
    with serving(tmp_path) as served:
        statuses, answer = _asked(served.port, head % (offer, length), body)
        assert statuses == [b"200", b"200"] and b'"duration":0.5' in answer, answer


def test_a_request_within_a_body_behind_an_upgrade_is_never_answered(tmp_path: Path) -> None:
    inner = (
        b"\r\n" * 1000
        + b"POST /v2/repository/models/v1/load HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}"
    )
    head = b"POST /api/predict HTTP/1.1\r\nHost: x\r\n%sContent-Type: audio/wav\r\nExpect: 100-continue\r\n" % OFFER
    with serving(tmp_path) as served:
        statuses, answer = _asked(served.port, head + b"Content-Length: %d\r\n\r\n" % len(inner), inner)
        assert statuses == [b"415", b"200"], answer
        access = (tmp_path / "access.log").read_text()
        assert "/api/predict" in access and "/v2/repository" not in access


def test_what_is_no_request_is_answered_after_those_before_it(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        good = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
        for bad in (
            b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
            b"GET / HTTP/1.1\r\n\r\n",
            b"\x16\x03\x01",
            good[:-2] + b"\n x\r\n",
        ):
            answer = raw(served, good * 3 + bad)
            statuses = re.findall(rb"HTTP/1\.1 (\d+) ", answer)
            assert statuses == [b"200", b"200", b"200", b"400"], answer
            error = json.loads(answer.rpartition(b"\r\n\r\n")[2])["error"]
            assert error["message"].startswith("cannot read the request: ")


def test_nothing_after_the_last_request_of_a_connection_is_answered(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        for head in (b"GET /health HTTP/1.0\r\n\r\n", b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"):
            assert raw(served, head + b"GET /ready HTTP/1.1\r\nHost: x\r\n\r\n").count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize(
    "before",
    [b"GET / HTTP/1.1\r\nHost: x\r\nX: ", b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: "],
)
def test_a_field_without_end_is_refused_before_it_is_held(tmp_path: Path, before: bytes) -> None:
    with (
        serving(tmp_path) as served,
        socket.create_connection(("127.0.0.1", served.port), timeout=PATIENCE_SECONDS) as connection,
    ):
        connection.sendall(before)
        sent = 0
        try:
            while sent < 64 << 20:
                sent += connection.send(bytes(65536).replace(b"\0", b"a"))
        except OSError:
            pass
        assert sent < 64 << 20


def test_an_answer_reaches_a_client_that_still_sends(tmp_path: Path) -> None:
    """Closing at once makes the kernel send a reset, by which a client may lose an answer that it has already."""
    line = b"a" * 40_000
    with serving(tmp_path) as served, running_panel() as panel:
        for port, first, then, status in (
            (served.port, b"GET / HTTP/1.1\r\nHost: x\r\nX: " + line + b"\r\nY: ", line, b"431"),
            (served.port, b"GET / HTTP/1.1\r\n\r\n", line, b"400"),
            (served.port, b"POST /nothing HTTP/1.0\r\nContent-Length: 80000\r\n\r\n" + line, line, b"404"),
            (panel.port, b"GET / HTTP/1.1\r\n\r\n", line, b"400"),
            (panel.port, b"POST /nothing HTTP/1.0\r\nContent-Length: 80000\r\n\r\n" + line, line, b"421"),
        ):
            for _ in range(20):
                with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS) as connection:
                    connection.sendall(first)
                    answer = connection.recv(65536)
                    connection.sendall(then)  # after the answer, which ended the connection
                    while more := connection.recv(65536):
                        answer += more
                assert answer.startswith(b"HTTP/1.1 " + status), answer
                assert answer.count(b"HTTP/1.1") == 1


def test_the_panel_reads_a_body_behind_an_upgrade_as_a_body() -> None:
    inner = b"POST /v1/sweep HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Modelward: 1\r\nContent-Length: 2\r\n\r\n{}"
    head = b"POST /v1/nothing HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nX-Modelward: 1\r\n%sContent-Length: %d\r\n"
    with running_panel() as panel:
        head = head % (panel.port, OFFER, len(inner)) + b"Expect: 100-continue\r\n\r\n"
        statuses, answer = _asked(panel.port, head, inner)
        assert statuses == [b"404", b"200"] and panel.admin.requests == [], answer
