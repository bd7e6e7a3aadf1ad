"""However the daemon answers, or does not, a command ends with a sentence."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.daemon.cli.conftest import Call
from tests.fakes.admin import FakeAdmin
from tests.support import PATIENCE_SECONDS

from modelward.daemon.answers.status import StateReason
from modelward.daemon.cli.client import ApiAnswer, Client, parse_events, segment
from modelward.daemon.cli.socket_path import DEFAULT_SOCKET
from modelward.daemon.errors import Refused, Unreachable


@contextmanager
def raw_server(path: Path, answer: bytes) -> Iterator[Path]:
    """Listens once, reads a whole request, answers these bytes and closes."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection, connection.makefile("rb") as request:
                length = 0
                while (line := request.readline().strip().lower()) != b"":
                    length = int(line.partition(b":")[2]) if line.startswith(b"content-length:") else length
                request.read(length)  # comes in a piece of its own, which must not meet a closed socket
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield path
        thread.join()


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"", "went away"),
        (b"SSH-2.0-OpenSSH\r\n", "SSH-2.0"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "no JSON object"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", "no JSON object"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}", "cannot"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n\xff\xfe\xff\xfe", "no JSON object"),
    ],
)
def test_an_answer_that_is_none_counts_as_unreachable(tmp_path: Path, answer: bytes, says: str) -> None:
    with raw_server(tmp_path / "api.sock", answer) as path, pytest.raises(Unreachable) as unreachable:
        Client(str(path)).get("/v1/status")
    assert str(unreachable.value).startswith("cannot ")
    assert says in str(unreachable.value)


def test_tells_a_dead_socket_from_a_missing_one(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
    with pytest.raises(Unreachable, match="nobody listens there"):
        Client(str(path)).get("/v1/status")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may open every socket")
def test_says_when_the_socket_is_not_open_to_the_caller(admin: FakeAdmin) -> None:
    admin.socket_path.chmod(0)
    with pytest.raises(Unreachable, match="not allowed"):
        Client(str(admin.socket_path)).get("/v1/status")


def test_says_when_the_path_is_too_long() -> None:
    with pytest.raises(Unreachable, match="too long"):
        Client("/" + "x" * 200).get("/v1/status")


def test_gives_up_on_a_daemon_that_takes_too_long(admin: FakeAdmin) -> None:
    released = threading.Event()

    def slow(asked: object) -> tuple[int, object]:
        released.wait(PATIENCE_SECONDS)
        return 200, {}

    admin.replies["POST /v1/rollback"] = slow
    ticks: list[int] = []
    with pytest.raises(Unreachable, match="within 0.6 s"):
        Client(str(admin.socket_path)).post_and_wait("/v1/rollback", {}, lambda: ticks.append(1), seconds=0.6)
    released.set()
    assert ticks


def test_says_what_to_do_when_the_daemon_dies_while_it_decides(tmp_path: Path) -> None:
    with (
        raw_server(tmp_path / "api.sock", b"") as path,
        pytest.raises(Unreachable, match="cannot tell how it ended: .* look at modelward status"),
    ):
        Client(str(path)).post_and_wait("/v1/activate", {"version": "v1"}, lambda: None)


def test_finds_the_socket_in_the_environment(admin: FakeAdmin, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    admin.reply("GET", "/v1/workers", {"workers": []})
    monkeypatch.setenv("MODELWARD_SOCKET", str(admin.socket_path))
    assert call("workers").out == "no worker\n"
    monkeypatch.delenv("MODELWARD_SOCKET")
    assert Client().path == DEFAULT_SOCKET


def test_an_explicit_socket_outranks_the_environment(
    admin: FakeAdmin, call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MODELWARD_SOCKET", str(tmp_path / "none"))
    admin.reply("GET", "/v1/workers", {"workers": []})
    assert call("workers", "--socket", str(admin.socket_path)).status == 0


def test_a_refusal_carries_the_daemons_sentence(admin: FakeAdmin) -> None:
    admin.reply("POST", "/v1/hold", {"error": {"message": "cannot hold v9: no such version", "type": "x"}}, status=404)
    with pytest.raises(Refused, match="^cannot hold v9: no such version$"):
        Client(str(admin.socket_path)).post("/v1/hold", {"version": "v9"})


def test_reads_the_answer_of_a_newer_daemon_and_says_what_an_answer_lacks() -> None:
    newer = '{"state": "watching", "because": "", "since": "2026-01-01T00:00:00Z"}'
    assert ApiAnswer(200, newer, {}).read(StateReason) == StateReason("watching", "")
    with pytest.raises(Refused, match="cannot read the daemon's answer: .*`because`; --json prints it as it came"):
        ApiAnswer(200, '{"state": "watching"}', {}).read(StateReason)


def test_reads_events_and_passes_over_comments_and_rubbish() -> None:
    stream = (
        b': ping\n\nevent: rollout\r\ndata: {"version":\r\ndata: "v1"}\r\n\r\n'
        b'data: nonsense\n\ndata:{"a":1}\nid: 3\n\ndata: {"cut"'
    )
    assert list(parse_events(iter(stream.splitlines(keepends=True)))) == [
        {"event": "rollout", "version": "v1"},
        {"event": "message", "a": 1},
    ]


def test_follows_events_over_the_socket(admin: FakeAdmin) -> None:
    admin.reply("GET", "/v1/events", b'data: {"n": 1}\n\n: ping\n\ndata: {"n": 2}\n\n')
    assert [event["n"] for event in Client(str(admin.socket_path)).events()] == [1, 2]


def test_says_when_events_cannot_be_followed(admin: FakeAdmin) -> None:
    with pytest.raises(Refused, match="answered 404"):
        list(Client(str(admin.socket_path)).events())


@given(st.lists(st.binary(max_size=40)))
def test_no_stream_of_bytes_breaks_the_reader(lines: list[bytes]) -> None:
    list(parse_events(iter(lines)))


def test_a_name_cannot_leave_its_place_in_a_path() -> None:
    assert segment("../x?y#z") == "..%2Fx%3Fy%23z"
