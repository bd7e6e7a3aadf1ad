from __future__ import annotations

import json
import socket
import threading
from pathlib import Path

import pytest
from tests import asking
from tests.support import eventually
from tests.worker.http.serving import (
    post,
    raw,
    serving,
    wav,
)

from modelward.worker.http.connection import ConnectionLimits
from modelward.worker.http.daemon_api import AT_ONCE


def test_health_and_readiness_tell_the_serving_version(tmp_path: Path) -> None:
    with serving(tmp_path, version="") as served:
        for path in ("/health", "/ready"):
            assert asking.get(served.url + path).status_code == 503
        served.swap("v1")
        assert asking.get(served.url + "/health").json() == {
            "status": "ok",
            "version": "v1",
            "digest": "v1" * 8,
            "worker": "w1",
        }
        assert asking.get(served.url + "/ready").json()["ready"] is True
        assert asking.head(served.url + "/health").status_code == 200


def test_while_draining_it_is_healthy_and_not_ready_and_asks_clients_to_go(tmp_path: Path) -> None:
    with serving(tmp_path) as served, asking.client(base_url=served.url) as client:
        assert "connection" not in client.get("/ready").headers

        def drain() -> None:
            served.front.leaving = True

        served.call(drain)
        answer = client.get("/ready")
        assert answer.status_code == 503 and answer.headers["connection"] == "close"
        assert client.get("/health").status_code == 200


def test_unknown_routes_and_methods_have_the_same_error_shape(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        for method, path, status in (("GET", "/nope", 404), ("GET", "/health/x", 404), ("GET", "/api/predict", 405)):
            answer = asking.request(method, served.url + path)
            assert answer.status_code == status
            assert set(answer.json()["error"]) == {"message", "type", "code"}


def test_a_chinese_client_gets_chinese_sentences(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        answer = asking.request("GET", served.url + "/nope", headers={"Accept-Language": "zh-CN,zh;q=0.9"})
        assert answer.json()["error"] == {
            "message": "无法应答：没有 /nope",
            "type": "not_found_error",
            "code": "no_such_route",
        }


def test_tokens_guard_every_route_but_the_probes(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("# first\nsecret-1\n\nsecret-2\n")
    with serving(tmp_path, token_file=str(tokens)) as served:

        def status(path: str, token: str | None, method: str = "POST") -> int:
            headers = {} if token is None else {"authorization": token}
            return asking.request(method, served.url + path, headers=headers).status_code

        assert status("/health", None, "GET") == 200 and status("/ready", None, "GET") == 200
        for path in ("/api/predict", "/api/reload-model", "/nope", "/HEALTH"):
            for bad in (None, "", "Bearer", "Bearer wrong", "Basic secret-1", "Bearer # first", "Bearer secret-1x"):
                assert status(path, bad) == 401
        assert status("/api/predict", "Bearer secret-1") == 415
        assert status("/nope", "bearer secret-2") == 404
        tokens.write_text("secret-3\n")
        assert status("/nope", "Bearer secret-1") == 401
        assert status("/nope", "Bearer secret-3") == 404
        tokens.unlink()
        assert status("/nope", "Bearer secret-3") == 401
        tokens.write_text("")
        assert status("/nope", "Bearer x") == 401


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 503),
        ({"x-forwarded-for": "127.0.0.1"}, 403),
        ({"x-forwarded-proto": "https"}, 403),
        ({"via": "1.1 proxy"}, 403),
        ({"forwarded": "for=127.0.0.1"}, 403),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "http://evil.example", "host": "evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://localhost:7860", "host": "localhost:7860"}, 503),
    ],
)
def test_reload_is_for_this_machine_only(tmp_path: Path, headers: dict[str, str], status: int) -> None:
    with serving(tmp_path) as served:
        assert asking.post(served.url + "/api/reload-model", headers=headers).status_code == status


def test_what_comes_by_http_1_0_may_come_from_a_proxy_and_changes_nothing(tmp_path: Path) -> None:
    fields = b"Host: 127.0.0.1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    with serving(tmp_path) as served:
        for version, status in ((b"1.1", b"503"), (b"1.0", b"403")):
            head = b"POST /api/reload-model HTTP/%s\r\n" % version
            assert raw(served, head + fields).split(b" ")[1] == status


def test_reload_without_a_daemon_says_so_and_what_is_served(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        answer = asking.post(served.url + "/api/reload-model")
        assert answer.status_code == 503
        assert answer.json()["success"] is False
        assert "still serving v1" in answer.json()["message"]


DONE = b'{"success":true,"message":"v2 is served"}'
NOTHING = b'{"success":false,"message":"nothing is new"}'


@pytest.mark.parametrize(
    ("reply", "status", "success"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(DONE), DONE), 200, True),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(NOTHING), NOTHING),
            200,
            False,
        ),
        (b"HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\nno", 503, False),
        (b"garbage\r\n\r\n", 503, False),
        (b"", 503, False),
    ],
    ids=["done", "nothing", "error", "garbage", "silence"],
)
def test_reload_answers_what_the_daemon_decided(tmp_path: Path, reply: bytes, status: int, success: bool) -> None:
    asked: list[bytes] = []
    with serving(tmp_path) as served, socket.socket(socket.AF_UNIX) as daemon:
        daemon.bind(str(tmp_path / "api.sock"))
        daemon.listen()

        def answer() -> None:
            connection, _ = daemon.accept()
            with connection:
                asked.append(connection.recv(65536))
                connection.sendall(reply)

        threading.Thread(target=answer, daemon=True).start()
        told = asking.post(served.url + "/api/reload-model")
        assert (told.status_code, told.json()["success"]) == (status, success)
        assert asked[0].startswith(b"POST /v1/rescan?wait=1 HTTP/1.1\r\n")


def test_clients_that_ask_for_a_reload_and_leave_keep_nobody_from_it(tmp_path: Path) -> None:
    with serving(tmp_path) as served, socket.socket(socket.AF_UNIX) as daemon:
        daemon.bind(str(tmp_path / "api.sock"))
        daemon.listen()
        held = []
        for _ in range(AT_ONCE):
            with socket.create_connection(("127.0.0.1", served.port)) as client:
                client.sendall(b"POST /api/reload-model HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
                connection, _ = daemon.accept()  # and it never decides
                held.append(connection)
        for connection in held:
            assert connection.makefile("rb").read().startswith(b"POST /v1/rescan"), "it is not waited for any more"
            connection.close()

        def answer() -> None:
            connection, _ = daemon.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(DONE), DONE))

        threading.Thread(target=answer, daemon=True).start()
        assert asking.post(served.url + "/api/reload-model").json() == {"success": True, "message": "v2 is served"}
        gone = [json.loads(line) for line in (tmp_path / "access.log").read_text().splitlines()][:AT_ONCE]
        assert [line["status"] for line in gone] == [499] * AT_ONCE


def test_every_request_is_one_line_in_the_access_log(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        assert post(served, wav(1)).headers["x-request-id"]
        asking.get(served.url + "/no%0A%22where", headers={"x-request-id": "mine-1", "user-agent": "x" * 9000})
        asking.get(served.url + "/" + "y" * 9000, headers={"x-request-id": 'bad "id'})
        raw(served, b"nonsense\r\n\r\n")
        log = tmp_path / "access.log"
        eventually(lambda: log.read_text().count("\n") == 4)
        first, second, third, fourth = [json.loads(line) for line in log.read_text().splitlines()]
    assert (first["method"], first["path"], first["status"], first["version"]) == ("POST", "/api/predict", 200, "v1")
    assert first["client"] == "127.0.0.1" and first["worker"] == "w1" and first["seconds"] > 0 and first["bytes"] > 0
    assert second["path"] == '/no\n"where' and second["request"] == "mine-1" and len(second["agent"]) == 200
    assert len(third["path"]) == 512 and third["request"] != 'bad "id'
    assert fourth["status"] == 400


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n", b"400"),
        (b"GET http:// HTTP/1.1\r\nHost: x\r\n\r\n", b"400"),
        (b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", b"400"),
        (b"POST /api/predict HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n", b"400"),
        (b"POST /api/predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n", b"400"),
        (b"GET /health HTTP/1.1\r\nHost: x\r\nBig: " + b"y" * 40_000 + b"\r\n\r\n", b"431"),
        (b"GET /" + b"y" * 40_000, b"431"),
        (b"GET /health HTTP/1.1\r\n" + b"A: b\r\n" * 9000 + b"\r\n", b"431"),
    ],
)
def test_what_is_no_http_is_refused_and_the_connection_closed(tmp_path: Path, data: bytes, status: bytes) -> None:
    with serving(tmp_path) as served:
        answer = raw(served, data)
        assert answer.startswith(b"HTTP/1.1 " + status) and b"<still open>" not in answer
        assert b'{"error":' in answer
        assert asking.get(served.url + "/health").status_code == 200


def test_a_head_that_drips_in_is_given_up(tmp_path: Path) -> None:
    with serving(tmp_path, limits=ConnectionLimits(head_seconds=0.3)) as served:
        assert raw(served, b"GET /health HTTP/1.1\r\nHo").startswith(b"HTTP/1.1 408 ")
        assert raw(served, b"") == b""


def test_a_full_house_sends_the_quietest_guest_away(tmp_path: Path) -> None:
    with serving(tmp_path, limits=ConnectionLimits(connections=4)) as served:
        guests = [socket.create_connection(("127.0.0.1", served.port)) for _ in range(4)]
        eventually(lambda: served.call(lambda: len(served.front._state.connections)) == 4)
        assert asking.get(served.url + "/health").status_code == 200
        assert guests[0].recv(1) == b"", "the oldest silent connection was closed"
        for guest in guests:
            guest.close()
