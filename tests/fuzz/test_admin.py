"""The admin API and the panel before hostile clients, and the command line before a hostile daemon."""

from __future__ import annotations

import io
import json
import re
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.fakes.admin_interface import RunningPanel, running_panel
from tests.fakes.answers import filled
from tests.fuzz.asking import answered
from tests.fuzz.strategies import (
    JSON,
    altered_text,
    bytes_like,
    deep,
    fuzzed,
    twisted,
)
from tests.house import House
from tests.support import PATIENCE_SECONDS

from modelward.daemon.answers.history import HistoryAnswer
from modelward.daemon.answers.status import StatusAnswer
from modelward.daemon.answers.versions import VersionsAnswer
from modelward.daemon.api.app import ROUTES
from modelward.daemon.cli import render, status, versions
from modelward.daemon.cli.client import Client, parse_events
from modelward.daemon.errors import ModelwardError
from modelward.daemon.health.addresses import CHATS, Way
from modelward.daemon.health.chat_webhooks import refusal

BODIES = (
    {"version": "v1"}, {"worker": "w1"}, {"dry_run": True, "force": True, "file": "access.log"}, {},
    {"version": "v2", "kind": "directory", "files": [{"path": "a/model.onnx", "bytes": 3}, {"path": "b", "bytes": 0}]},
    {"version": "v2", "kind": "tar", "files": [{"path": "v2.tar", "bytes": 3}]},
    {"name": "disk_low", "duration": "4h", "why": "maintenance"},
)  # fmt: skip
UPLOAD = "0123456789abcdef"


def _named(path: str) -> str:
    return path.replace("{name}", "access.log").replace("{rollout}", "r1").replace("{upload}", UPLOAD)


PATHS = tuple(_named(path) for _, path, _, _ in ROUTES)
LEFT_OUT = {"/v1/validate", "/v1/rescan", "/v1/sweep", "/v1/restart"}
"""What waits or works; the names in their bodies are read as all others are."""
HEAD = "Host: 127.0.0.1\r\nX-Modelward: 1\r\nConnection: close\r\n"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A daemon with nothing to serve and nobody to serve it."""
    root = tmp_path_factory.mktemp("house")
    house = House(root, {"workers": {"count": 1}, "validation": {"golden": ""}})
    try:
        yield house.start()
    finally:
        house.close()


def _asked(address: str | tuple[str, int], data: bytes, seconds: float) -> tuple[bytes, bytes]:
    """The status and all of the answer, b"" when none came."""
    answer = answered(address, data, seconds)
    found = re.match(rb"HTTP/1\.1 (\d+)", answer)
    return (found[1] if found else b""), answer


def _request(method: str, path: str, body: bytes) -> bytes:
    return f"{method} {path} HTTP/1.1\r\n{HEAD}Content-Length: {len(body)}\r\n\r\n".encode("latin-1", "replace") + body


_BODIES = st.one_of(
    twisted(*BODIES).map(lambda value: json.dumps(value).encode()),
    JSON.map(lambda value: json.dumps(value).encode()),
    bytes_like(*(json.dumps(body).encode() for body in BODIES)),
    st.sampled_from((deep(30_000), b'{"version":' + b"9" * 5000 + b"}", b"\xff\xfe{\0}\0", b"x" * 70_000)),
)
_TARGETS = st.one_of(
    st.sampled_from([path for path in PATHS if path not in LEFT_OUT]),
    st.tuples(
        st.sampled_from(
            (
                "/v1/logs/",
                "/v1/rollouts/",
                "/v1/history?n=",
                "/v1/history?before=",
                "/v1/logs/access.log?lines=",
                "/",
                "/v1/uploads/",
                f"/v1/uploads/{UPLOAD}?file=",
                f"/v1/uploads/{UPLOAD}?file=0&offset=",
                "/v1/series?span=",
                "/v1/status?language=",
                "/v1/disk?progress=",
                "/v1/logs/access.log/download?x=",
            )
        ),
        st.one_of(
            st.sampled_from(
                ("..%2f..%2fetc%2fpasswd", "%ed%a0%80", "%00", "-1", "9" * 16, "%d9%a3", "1e9", "a" * 3000)
            ),
            altered_text("access.log", "25").map(lambda text: re.sub(r"[^!-~]", "%ff", text)),
        ),
    ).map("".join),
)


@fuzzed(120)
@given(method=st.sampled_from(("GET", "POST", "POST", "PUT", "OPTIONS", "HEAD", "DELETE")), path=_TARGETS, body=_BODIES)
@example(method="POST", path="/v1/release", body=b'{"version":"\\ud800"}')
@example(method="POST", path="/v1/hold", body=b'{"version":"\\ud800"}')
@example(method="POST", path="/v1/rotate", body=b'{"dry_run":true,"file":"\\ud800"}')
@example(method="POST", path="/v1/rotate", body=b'{"dry_run":true,"file":"/\\u0000"}')
@example(method="GET", path="/v1/history?kind=%ed%a0%80", body=b"")
@example(method="POST", path="/v1/uploads", body=b'{"version":"v","kind":"tar","files":"\\ud800"}')
@example(method="POST", path="/v1/uploads", body=b'{"version":"v","kind":"tar","files":[{"path":"\\ud800","bytes":1}]}')
@example(
    method="POST",
    path="/v1/uploads",
    body=b'{"version":"v","kind":"tar","files":[{"path":"a","bytes":%s}]}' % (b"9" * 400),
)
@example(method="POST", path="/v1/uploads", body=b'{"version":"v","kind":"directory","files":%s}' % deep(20_000))
@example(method="POST", path="/v1/alerts/mute", body=b'{"name":"all","duration":1e999}')
@example(method="POST", path="/v1/alerts/mute", body=b'{"name":"\\ud800","duration":"4h","why":"\\ud800"}')
@example(method="POST", path="/v1/alerts/mute", body=b'{"name":"all","duration":%s}' % (b"9" * 400))
@example(method="GET", path="/v1/status?language=zh", body=b"")
@example(method="HEAD", path="/v1/logs/access.log/download", body=b"")
@example(method="GET", path="/v1/logs/%0d%0aX:%20y/download", body=b"")
def test_the_api_answers_every_request_and_never_fails(house: House, method: str, path: str, body: bytes) -> None:
    status, answer = _asked(str(house.root / "run" / "api.sock"), _request(method, path, body), 20)
    if path.startswith("/v1/events"):
        return
    assert status and (status < b"500" or (status == b"503" and path == "/ready")), answer[:600]
    if status >= b"400" and method != "GET":
        json.loads(answer.partition(b"\r\n\r\n")[2] or b"{}")
    assert house.process is not None and house.process.poll() is None


@pytest.fixture(scope="module")
def panel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPanel]:
    tokens = tmp_path_factory.mktemp("panel") / "tokens"
    tokens.write_text("let-me-in\n")
    with running_panel(token_file=str(tokens)) as running:
        yield running


WISHES = tuple(
    f"{line} HTTP/1.1\r\n{HEAD}{more}\r\n{body}".encode()
    for line, more, body in (
        ("GET /", "", ""),
        ("GET /static/panel.js", "If-None-Match: x\r\n", ""),
        ("POST /login", "Content-Length: 21\r\n", '{"token":"let-me-in"}'),
        ("GET /session", "Cookie: modelward-5000=abc; a=b\r\n", ""),
        ("POST /v1/activate?wait=1", "Authorization: Bearer let-me-in\r\nContent-Length: 16\r\n", '{"version":"v1"}'),
        ("GET /v1/status", "Origin: http://127.0.0.1:5000\r\nSec-Fetch-Site: same-origin\r\n", ""),
        ("DELETE /session", "Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"),
        ("GET /v1/logs/access.log/download", "Range: bytes=0-5\r\nX-Forwarded-For: 1.2.3.4, ::1\r\n", ""),
        ("GET /asr/v1/status", "Forwarded: for=1.2.3.4;proto=https\r\nX-Forwarded-Prefix: /asr\r\n", ""),
        ("PUT /v1/uploads/0123456789abcdef?file=0&offset=0", "Content-Length: 3\r\n", "abc"),
    )
)


@fuzzed(120)
@given(data=bytes_like(*WISHES, head=220))
@example(data=b"GET /v1/status HTTP/1.1\r\nHost: [::1\r\nConnection: close\r\n\r\n")
@example(data=b"GET /v1/status HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: http://[\r\nConnection: close\r\n\r\n")
@example(data=b"GET /session HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: \xff=\xfe;;=\r\nConnection: close\r\n\r\n")
def test_the_panel_answers_every_request_and_never_fails(panel: RunningPanel, data: bytes) -> None:
    status, answer = _asked(("127.0.0.1", panel.port), data, 0.1)
    assert status < b"500", (data, answer[:600])
    assert panel.ask("GET", "/health").status == 200


STATUS: dict[str, Any] = {
    **filled(
        StatusAnswer,
        {
            "live": "v1", "serving": "v1", "ready": True, "state": "ready", "workers": {"ready": 1, "total": 2},
            "rollout": {"version": "v2", "workers": [{"name": "w1", "state": "moved"}]},
            "disk": {"mount": "/", "used_percent": 50.0, "free_bytes": 10}, "uptime_seconds": 12.5,
            "alerts": [{"name": "a", "message": "m", "severity": "critical", "since": "2026-01-02T03:04:05Z"}],
        },
    ),
    **filled(VersionsAnswer, {"versions": [{"version": "v1", "verdict": {"because": "fine"}, "bytes": 5}]}),
    **filled(HistoryAnswer, {"history": [{"time": "2026-01-02T03:04:05.000Z", "kind": "accepted", "because": "x"}]}),
}  # fmt: skip
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(json.dumps(STATUS)) + json.dumps(STATUS).encode()


@fuzzed(120)
@given(
    st.one_of(
        twisted(STATUS).map(lambda value: b"HTTP/1.1 200 OK\r\n\r\n" + json.dumps(value).encode()),
        bytes_like(ANSWER, b'HTTP/1.1 409 X\r\n\r\n{"error":{"message":"cannot","type":"t"}}'),
        st.just(b"HTTP/1.1 200 OK\r\n\r\n" + deep(20_000)),
        st.just(b'HTTP/1.1 200 OK\r\n\r\n{"a":' + b"9" * 5000 + b"}"),
    )
)
def test_the_command_line_reads_any_answer_or_says_why_not(answer: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(answer)
        theirs.shutdown(socket.SHUT_WR)
        try:
            found = _Given(ours).get("/v1/status")
            shown = [*status.lines(found.read(StatusAnswer))]
            now = datetime(2026, 1, 2, tzinfo=UTC)
            shown += [render.table("ABCDEF", [versions.row(v, now)]) for v in found.read(VersionsAnswer).versions]
            shown += [render.local(line.time) for line in found.read(HistoryAnswer).history]
        except ModelwardError as e:
            assert str(e).startswith("cannot ")
            return
    assert all(line.isprintable() for text in shown for line in text.splitlines())


class _Given(Client):
    """A client whose connection is made already."""

    def __init__(self, connection: socket.socket) -> None:
        super().__init__("/nowhere")
        self._connection = connection

    def _ask(self, *words: Any) -> Any:
        import http.client

        from modelward.daemon.errors import Unreachable

        connection = http.client.HTTPConnection("modelward", timeout=PATIENCE_SECONDS)
        connection.sock = self._connection
        try:
            connection.request("GET", "/v1/status")
            response = connection.getresponse()
            return self._answer(response.status, response.read(1 << 20))
        except (OSError, http.client.HTTPException) as e:
            raise Unreachable(self._why(e, True)) from e


@fuzzed(150)
@given(st.one_of(st.text(), st.sampled_from(("0001-01-01T00:00:00Z", "9999-12-31T23:59:59-12:00"))))
def test_nothing_that_is_shown_steers_a_terminal(text: str) -> None:
    for shown in (render.clean(text), render.age(text, datetime(2026, 1, 2, tzinfo=UTC)), render.local(text)):
        assert shown.isprintable()


@fuzzed(100)
@given(
    bytes_like(
        b'event: rollout\ndata: {"a":1}\n\n: ping\n\ndata: {"b":\ndata: 2}\n\n', b"data: " + deep(20_000) + b"\n\n"
    )
)
def test_events_are_objects_or_passed_over(data: bytes) -> None:
    assert all(isinstance(event, dict) for event in parse_events(iter(io.BytesIO(data))))


@fuzzed(80)
@given(
    st.sampled_from(sorted(CHATS)),
    bytes_like(b'{"errcode":0,"errmsg":"ok"}', b'{"code":19001,"msg":"bad"}', b"ok", deep(20_000)),
)
def test_a_robots_answer_is_yes_or_a_short_reason(way: str, answer: bytes) -> None:
    assert len(refusal(cast(Way, way), answer)) < 400
