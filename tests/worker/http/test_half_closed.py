"""A client that ends its sending side after its request gets its answer; one that is gone is not worked for."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from tests.support import PATIENCE_SECONDS, eventually
from tests.worker.http.serving import Served, serving, wav

CLIP = wav(1)
HEAD = (
    f"POST /api/predict HTTP/1.1\r\nHost: x\r\nContent-Type: audio/wav\r\nContent-Length: {len(CLIP)}\r\n\r\n".encode()
)


def connected(served: Served) -> socket.socket:
    return socket.create_connection(("127.0.0.1", served.port), timeout=PATIENCE_SECONDS)


def rest(connection: socket.socket) -> bytes:
    found = b""
    while more := connection.recv(65536):
        found += more
    return found


def final(answer: bytes) -> bytes:
    """The answer without the lines that only asked whether somebody is there."""
    while answer.startswith(b"HTTP/1.1 100 "):
        answer = answer.partition(b"\r\n\r\n")[2]
    return answer


def test_an_answer_comes_after_the_sending_side_ended(tmp_path: Path) -> None:
    with serving(tmp_path) as served, connected(served) as connection:
        model = served.models["v1"]
        model.go.clear()
        connection.sendall(HEAD + CLIP)
        connection.shutdown(socket.SHUT_WR)
        eventually(lambda: served.work.load == 1)
        assert connection.recv(65536).startswith(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert model.terminated == 0
        model.go.set()
        answer = final(rest(connection))
        assert answer.startswith(b"HTTP/1.1 200 ") and b"connection: close" in answer and b'"result":"v1"' in answer


def test_every_request_before_the_end_is_answered(tmp_path: Path) -> None:
    with serving(tmp_path) as served, connected(served) as connection:
        connection.sendall((HEAD + CLIP) * 2 + b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        connection.shutdown(socket.SHUT_WR)
        assert rest(connection).count(b"HTTP/1.1 200 ") == 3


@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_a_client_that_is_gone_is_not_worked_for(tmp_path: Path, version: str) -> None:
    with serving(tmp_path) as served:
        model = served.models["v1"]
        model.go.clear()
        with connected(served) as connection:
            connection.sendall(HEAD.replace(b"/1.1", f"/{version}".encode()) + CLIP)
            eventually(lambda: served.work.load == 1)
        eventually(lambda: served.work.load == 0)
        assert not model.said
        eventually(lambda: not served.front.connections)


def test_a_client_that_leaves_after_it_ended_its_sending_side_is_not_worked_for(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        model = served.models["v1"]
        model.go.clear()
        with connected(served) as connection:
            connection.sendall(HEAD + CLIP)
            connection.shutdown(socket.SHUT_WR)
            assert connection.recv(65536).startswith(b"HTTP/1.1 100 ")
            assert model.terminated == 0
        eventually(lambda: served.work.load == 0)
        assert not model.said
        eventually(lambda: not served.front.connections)


def test_half_a_body_is_no_request(tmp_path: Path) -> None:
    with serving(tmp_path) as served, connected(served) as connection:
        connection.sendall(HEAD + CLIP[:1000])
        connection.shutdown(socket.SHUT_WR)
        assert rest(connection) == b""
        eventually(lambda: not served.front.connections)
