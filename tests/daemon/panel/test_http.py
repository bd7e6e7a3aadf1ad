"""The panel as any program on the network meets it: real requests on a real port."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import socket
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.fakes.admin_interface import FakeDesk, RunningPanel, running_panel
from tests.support import PATIENCE_SECONDS, eventually

from modelward.daemon.answers.encode import encoded
from modelward.daemon.api.events import MAX_LISTENERS
from modelward.daemon.cli.client import ApiAnswer
from modelward.daemon.cli.panel import lines
from modelward.daemon.config.load import Panel, parse
from modelward.daemon.errors import BadConfig
from modelward.daemon.panel.live_feed import MAX_VIEWERS
from modelward.daemon.panel.middleware import BODY_SECONDS
from modelward.daemon.panel.rate_limit import TRIES, TRIES_OF_ALL
from modelward.daemon.panel.server import MAX_CONNECTIONS

MARK = {"X_Modelward": "1"}
TOKEN = "a-long-enough-token"


@pytest.fixture
def panel() -> Iterator[RunningPanel]:
    with running_panel() as running:
        yield running


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "tokens"
    path.write_text(f"{TOKEN}\n", encoding="utf-8")
    return path


@pytest.fixture
def guarded(token_file: Path) -> Iterator[RunningPanel]:
    """A panel that other machines reach."""
    with running_panel(listen="0.0.0.0:0", token_file=str(token_file)) as running:
        yield running


def test_a_configuration_that_opens_the_panel_to_everybody_is_refused() -> None:
    with pytest.raises(BadConfig, match=r"panel.token_file"):
        parse('[panel]\nlisten = "0.0.0.0:5000"\n', "here")


def test_even_an_unchecked_configuration_does_not_open_it_without_a_token() -> None:
    with running_panel(listen="0.0.0.0:0") as running:
        assert running.port == 0
        assert "no token" in running.server.problem


def test_an_address_that_is_taken_is_said_and_had_later() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with running_panel(listen=address) as running:
            assert "in use" in running.server.problem
    with running_panel(listen=address) as running:
        assert not running.server.problem and running.ask("GET", "/health").status == 200


def test_serves_the_page_and_forbids_it_everything_from_outside(panel: RunningPanel) -> None:
    answer = panel.ask("GET", "/")
    assert answer.status == 200 and answer.headers["content-type"].startswith("text/html")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy
    assert answer.headers["x-frame-options"] == "DENY" and answer.headers["x-content-type-options"] == "nosniff"
    again = panel.ask("GET", "/", If_None_Match=answer.headers["etag"])
    assert again.status == 304 and not again.body
    assert panel.ask("HEAD", "/").status == 200


def test_answers_as_the_unix_socket_does(panel: RunningPanel) -> None:
    answer = panel.ask("GET", "/v1/status")
    assert answer.json["live"] == "v1" and answer.headers["cache-control"] == "no-store"
    assert panel.ask("GET", "/v1/nothing").kind == "not_found"
    assert panel.ask("PUT", "/v1/status", **MARK).status == 405
    done = panel.ask("POST", "/v1/activate?wait=1", {"version": "v2"}, **MARK)
    assert done.json == {"success": True, "message": "activate done"}
    refused = panel.ask("POST", "/v1/activate?wait=1", {"version": "no-such"}, **MARK)
    assert refused.status == 409 and refused.json["error"]["message"].startswith("cannot activate")
    assert panel.admin.requests == [("activate", "v2"), ("activate", "no-such")]


@pytest.mark.parametrize("value", ["true", "no", 0, 1, None, []])
def test_nothing_is_removed_for_whoever_does_not_say_plainly_whether_to_try_it_only(
    panel: RunningPanel, value: object
) -> None:
    for path, key in (("sweep", "dry_run"), ("rotate", "dry_run"), ("rotate", "force")):
        answer = panel.ask("POST", f"/v1/{path}?wait=1", {key: value}, **MARK)
        assert answer.status == 400
        assert answer.json["error"]["message"] == f"cannot do that: {key!r} must be true or false"
    assert panel.admin.requests == []


@pytest.mark.parametrize(
    ("headers", "status", "kind"),
    [
        ({**MARK, "Host": "evil.example"}, 421, "wrong_host"),
        ({**MARK, "Host": ""}, 400, "invalid_request_error"),
        ({}, 403, "header_missing"),
        ({**MARK, "Origin": "http://evil.example"}, 403, "cross_site"),
        ({**MARK, "Origin": "null"}, 403, "cross_site"),
        ({**MARK, "Sec_Fetch_Site": "cross-site"}, 403, "cross_site"),
        ({"Content_Type": "text/plain", "Origin": "http://evil.example"}, 403, "cross_site"),
    ],
)
def test_refuses_what_another_site_may_have_started(
    panel: RunningPanel, headers: dict[str, str], status: int, kind: str
) -> None:
    answer = panel.ask("POST", "/v1/rollback", {}, **headers)
    assert (answer.status, answer.kind) == (status, kind)
    assert panel.admin.requests == []


def test_a_page_elsewhere_may_link_to_the_panel_but_not_read_it(panel: RunningPanel) -> None:
    assert panel.ask("GET", "/", Sec_Fetch_Site="cross-site").status == 200
    for path in ("/v1/status", "/v1/events", "/live", "/metrics"):
        assert panel.ask("GET", path, Sec_Fetch_Site="cross-site").kind == "cross_site"
    assert "access-control-allow-origin" not in panel.ask("GET", "/v1/status", Origin="http://127.0.0.1:9").headers


@pytest.mark.parametrize(
    "path",
    ["/static/../gate.py", "/static/..%2fgate.py", "/static/%2e%2e/edge.py", "/static//etc/passwd", "/static/",
     "/..", "/static/index.html", "/static/__init__.py", "/%00", "/v1/logs/..%2f..%2fetc%2fpasswd",
     "/v1/logs/../../etc/passwd",
     "/v1/rollouts/../status", "/v1/__class__", "/v1/status.__class__", "/__init__", "/v1/supervisor.stop"],
)  # fmt: skip
def test_a_path_is_looked_up_in_a_table_and_leads_nowhere_else(panel: RunningPanel, path: str) -> None:
    answer = panel.ask("GET", path)
    assert answer.status == 404, answer.body[:200]
    assert b"root:" not in answer.body


@pytest.mark.parametrize("name", ["__class__", "_s", "config_reload.reload", "../etc", "💥" * 50, "x" * 60_000])
def test_a_name_is_a_name_and_never_a_method(panel: RunningPanel, name: str) -> None:
    assert panel.ask("POST", f"/v1/{name[:9].encode().hex()}", {}, **MARK).status == 404
    panel.ask("POST", "/v1/hold", {"version": name}, **MARK)
    assert panel.admin.requests == [("hold", name)]


def test_drops_a_body_that_is_too_large_and_goes_on(panel: RunningPanel) -> None:
    for large in (b"x" * (10 << 20), json.dumps({"version": "y" * 70_000}).encode()):
        answer = panel.ask("POST", "/v1/hold", large, **MARK)
        assert (answer.status, answer.kind) == (413, "too_large")
        assert answer.headers["connection"] == "close"
    assert panel.admin.requests == []
    assert panel.ask("GET", "/health").status == 200


def test_a_chunked_body_is_bounded_too(panel: RunningPanel) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", panel.port, timeout=PATIENCE_SECONDS)
    with contextlib.closing(connection):
        chunks = (b"z" * 10_000 for _ in range(100))
        connection.request("POST", "/v1/hold", chunks, {"X-Modelward": "1"}, encode_chunked=True)
        assert connection.getresponse().status == 413


def test_hangs_up_on_an_endless_head(panel: RunningPanel) -> None:
    with socket.create_connection(("127.0.0.1", panel.port), timeout=PATIENCE_SECONDS) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ")
        with pytest.raises(OSError):
            for _ in range(100):
                client.sendall(b"a" * 65_536)
            if not client.recv(1):
                raise ConnectionResetError
    assert panel.ask("GET", "/health").status == 200


def test_a_thousand_idle_connections_neither_stay_nor_keep_anybody_out(panel: RunningPanel) -> None:
    with contextlib.ExitStack() as stack:
        for number in range(1000):
            idle = stack.enter_context(socket.create_connection(("127.0.0.1", panel.port), timeout=PATIENCE_SECONDS))
            if number % 3 == 0:
                idle.sendall(b"GET / HTTP/1.1\r\nHost: loc")
            if number % 100 == 0:
                assert panel.ask("GET", "/v1/status").status == 200
        assert panel.ask("GET", "/v1/status").status == 200


def test_a_request_under_way_outlasts_a_flood_of_idle_connections(panel: RunningPanel) -> None:
    with contextlib.ExitStack() as stack:
        viewer = http.client.HTTPConnection("127.0.0.1", panel.port, timeout=PATIENCE_SECONDS)
        stack.callback(viewer.close)
        viewer.request("GET", "/live")
        stream = viewer.getresponse()
        assert stream.readline() == b"retry: 2000\n"
        for _ in range(600):
            stack.enter_context(socket.create_connection(("127.0.0.1", panel.port), timeout=PATIENCE_SECONDS))
        panel.admin.state["live"] = "v7"
        assert eventually(lambda: b'"live":"v7"' in stream.readline())


# tokens


def test_other_machines_see_nothing_but_the_page_without_a_token(guarded: RunningPanel) -> None:
    for path in ("/", "/health", "/ready", "/session"):
        assert guarded.ask("GET", path).status == 200
    for path in ("/v1/status", "/v1/events", "/live", "/metrics", "/v1/openapi.json", "/v1/logs/x"):
        answer = guarded.ask("GET", path)
        assert answer.status == 401 and answer.headers["www-authenticate"] == "Bearer"
    assert guarded.ask("POST", "/v1/rollback", {}, **MARK).status == 401
    assert guarded.ask("GET", "/session").json["may_read"] is False
    assert guarded.admin.requests == []


def test_a_bearer_token_is_enough_for_everything(guarded: RunningPanel) -> None:
    good = {"Authorization": f"Bearer {TOKEN}"}
    assert guarded.ask("GET", "/v1/status", **good).status == 200
    assert guarded.ask("POST", "/v1/rollback", {}, **good).status == 200
    bad = guarded.ask("GET", "/v1/status", Authorization="Bearer wrong")
    assert (bad.status, bad.kind) == (401, "bad_token")
    assert guarded.ask("GET", "/v1/status", Authorization=f"Basic {TOKEN}").status == 401


def log_in(panel: RunningPanel, token: str = TOKEN) -> str:
    """The cookie as a browser sends it back."""
    answer = panel.ask("POST", "/login", {"token": token}, **MARK)
    assert answer.status == 204, answer.body
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=strict" in cookie and "Path" not in cookie
    return cookie.partition(";")[0]


def test_a_login_opens_a_session_that_a_logout_ends(guarded: RunningPanel) -> None:
    cookie = log_in(guarded)
    assert TOKEN not in cookie
    assert guarded.ask("GET", "/v1/status", Cookie=cookie).status == 200
    assert guarded.ask("GET", "/session", Cookie=cookie).json["may_change"] is True
    assert guarded.ask("POST", "/v1/rollback", {}, Cookie=cookie).kind == "header_missing"
    assert guarded.ask("POST", "/v1/rollback", {}, Cookie=cookie, **MARK).status == 200
    assert guarded.ask("POST", "/v1/rollback", {}, Cookie=cookie, Origin="http://evil", **MARK).kind == "cross_site"
    assert guarded.ask("DELETE", "/session", Cookie=cookie, **MARK).status == 204
    assert guarded.ask("GET", "/v1/status", Cookie=cookie).status == 401


def test_a_token_that_is_taken_away_ends_the_events_it_let_in(guarded: RunningPanel, token_file: Path) -> None:
    listener = http.client.HTTPConnection("127.0.0.1", guarded.port, timeout=PATIENCE_SECONDS)
    with contextlib.closing(listener):
        listener.request("GET", "/v1/events", headers={"Authorization": f"Bearer {TOKEN}"})
        stream = listener.getresponse()
        assert stream.readline() == b": hello\n"
        guarded.tell("history", {"kind": "before"})
        assert b"before" in stream.readline() + stream.readline() + stream.readline()
        token_file.write_text("another\n", encoding="utf-8")
        guarded.tell("history", {"kind": "after"})
        assert b"after" not in stream.read()


def test_a_token_that_is_taken_away_ends_its_sessions_and_streams(guarded: RunningPanel, token_file: Path) -> None:
    cookie = log_in(guarded)
    viewer = http.client.HTTPConnection("127.0.0.1", guarded.port, timeout=PATIENCE_SECONDS)
    with contextlib.closing(viewer):
        viewer.request("GET", "/live", headers={"Cookie": cookie})
        stream = viewer.getresponse()
        assert b"retry" in stream.readline()
        token_file.write_text("another\n", encoding="utf-8")
        assert guarded.ask("GET", "/v1/status", Cookie=cookie).status == 401
        guarded.admin.state["live"] = "v9"
        assert b"v9" not in stream.read()  # it ends


def test_wrong_tokens_are_slowed_down_and_lock_nobody_out(guarded: RunningPanel) -> None:
    cookie = log_in(guarded)
    answers = [guarded.ask("POST", "/login", {"token": f"guess {n}"}, **MARK) for n in range(TRIES + 2)]
    assert [answer.status for answer in answers] == [401] * TRIES + [429] * 2
    assert 0 < int(answers[-1].headers["retry-after"]) <= 12
    assert guarded.ask("GET", "/metrics", Authorization="Bearer wrong").status == 429
    assert guarded.ask("GET", "/metrics", Authorization=f"Bearer {TOKEN}").status == 200
    assert guarded.ask("GET", "/v1/status", Cookie=cookie).status == 200
    assert guarded.ask("GET", "/v1/status", Cookie=log_in(guarded)).status == 200


def test_wrong_tokens_from_many_addresses_lock_nobody_out(guarded: RunningPanel) -> None:
    request = b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nAuthorization: Bearer "
    seen = set()
    for number in range(TRIES_OF_ALL + 5):
        with socket.socket() as client:
            client.bind((f"127.0.1.{number // TRIES + 1}", 0))
            client.connect(("127.0.0.1", guarded.port))
            client.sendall(request + b"wrong\r\n\r\n")
            seen.add(client.recv(12)[-3:])
    assert seen == {b"401", b"429"}
    assert guarded.ask("GET", "/metrics", Authorization=f"Bearer {TOKEN}").status == 200


@pytest.mark.parametrize("body", [None, b"", b"[]", b'{"token": 5}', b"{", b"[" * 50_000, {"token": None}])
def test_a_login_that_is_none_is_refused(guarded: RunningPanel, body: object) -> None:
    assert guarded.ask("POST", "/login", body, **MARK).status == 400


def test_nobody_can_be_logged_in_by_another_site(guarded: RunningPanel) -> None:
    assert guarded.ask("POST", "/login", {"token": TOKEN}).kind == "header_missing"
    answer = guarded.ask("POST", "/login", {"token": TOKEN}, Origin="http://evil.example", **MARK)
    assert answer.kind == "cross_site" and "set-cookie" not in answer.headers


@pytest.mark.parametrize("cookie", ["modelward-1=x", "a=b; =; ;;", '"', "x" * 20_000, "modelward-%d="])
def test_a_cookie_that_is_none_is_no_session(guarded: RunningPanel, cookie: str) -> None:
    cookie = cookie.replace("%d", str(guarded.port))
    assert guarded.ask("GET", "/v1/status", Cookie=cookie).status == 401


def test_a_token_that_was_named_is_asked_for_on_this_machine_too(token_file: Path) -> None:
    with running_panel(token_file=str(token_file)) as local:
        for path in ("/v1/status", "/v1/logs/access", "/metrics", "/v1/events", "/live"):
            assert local.ask("GET", path).status == 401
        assert local.ask("POST", "/v1/rollback", {}, **MARK).status == 401
        standing = local.ask("GET", "/session").json
        assert standing == {"tokens": True, "logged_in": False, "may_read": False, "may_change": False}
        assert local.ask("POST", "/v1/rollback", {}, Cookie=log_in(local), **MARK).status == 200


def test_a_named_file_that_is_missing_is_made_in_the_state_directory_and_nowhere_else(tmp_path: Path) -> None:
    for name, made in (("state", True), ("secrets", False)):
        (tmp_path / name).mkdir()
        token_file = tmp_path / name / "panel.token"
        with running_panel(token_file=str(token_file), state_dir=tmp_path / "state") as panel:
            assert token_file.exists() is made
            assert panel.ask("GET", "/v1/status").status == 401
            if made:  # the whole file is the token, as Prometheus reads it
                bearer = {"Authorization": f"Bearer {token_file.read_text().strip()}"}
                assert panel.ask("GET", "/v1/status", **bearer).status == 200


def test_a_panel_that_shall_ask_for_no_token_has_nothing_to_log_in_to() -> None:
    with running_panel(operator=lambda uid: False, token_file="none") as panel:
        assert panel.ask("POST", "/login", {"token": "x"}, **MARK).kind == "no_login"
        assert panel.ask("GET", "/session").json["may_change"] is True
        assert panel.ask("POST", "/v1/rollback", {}, **MARK).status == 200


def test_a_cookie_is_for_tls_alone_where_the_browser_came_by_tls(guarded: RunningPanel, token_file: Path) -> None:
    here = f"127.0.0.1:{guarded.port}"
    plain = guarded.ask("POST", "/login", {"token": TOKEN}, Origin=f"http://{here}", **MARK)
    assert "Secure" not in plain.headers["set-cookie"]
    answer = guarded.ask("POST", "/login", {"token": TOKEN}, Origin=f"https://{here}", **MARK)
    assert "Secure" in answer.headers["set-cookie"] and TOKEN not in answer.headers["set-cookie"]
    unnamed = guarded.ask("POST", "/login", {"token": TOKEN}, X_Forwarded_Proto="https", **MARK)
    assert "Secure" not in unnamed.headers["set-cookie"]
    with running_panel(listen="0.0.0.0:0", token_file=str(token_file), trusted_proxies=("127.0.0.1",)) as named:
        answer = named.ask("POST", "/login", {"token": TOKEN}, X_Forwarded_Proto="https", **MARK)
        assert "Secure" in answer.headers["set-cookie"]


def test_the_base_path_and_the_names_of_a_proxy_are_ours(token_file: Path) -> None:
    keys = {"token_file": str(token_file), "base_path": "/ops", "hosts": ("ops.example.org",)}
    with running_panel(listen="0.0.0.0:0", **keys) as panel:
        name = {"Host": "ops.example.org", "Origin": "https://ops.example.org:8443", "Sec_Fetch_Site": "same-origin"}
        moved = panel.ask("GET", "/ops", **name)
        assert (moved.status, moved.headers["location"]) == (308, "ops/")
        assert (
            panel.ask("GET", "/ops/").status
            == panel.ask("GET", "/").status
            == panel.ask("GET", "/health").status
            == 200
        )
        signed_in = panel.ask("POST", "/ops/login", {"token": TOKEN}, **name, **MARK)
        cookie, _, fields = signed_in.headers["set-cookie"].partition("; ")
        assert signed_in.status == 204 and "Path=/ops" in fields and "Secure" in fields
        assert panel.ask("POST", "/ops/v1/rollback", {}, **name, **MARK, Cookie=cookie).status == 200
        assert panel.ask("GET", "/ops/v1/status").status == panel.ask("GET", "/v1/status").status == 401
        changed = panel.ask("POST", "/ops/v1/rollback", {}, **{**name, "Host": "127.0.0.1"}, **MARK, Cookie=cookie)
        assert changed.status == 200, "a proxy may put another Host there"
        for wrong in ({"Host": "evil.example"}, {"Origin": "https://evil.example"}, {"Sec_Fetch_Site": "same-site"}):
            answer = panel.ask("POST", "/ops/v1/rollback", {}, **{**name, **wrong}, **MARK, Cookie=cookie)
            assert answer.status in (403, 421)
        servers = panel.ask("GET", "/ops/v1/openapi.json", Cookie=cookie).json["servers"]
        assert servers == [{"url": "/ops"}]
        assert "/ops/#login=" in panel.link()
        made = asyncio.run_coroutine_threadsafe(panel.server.link(), panel.loop).result(PATIENCE_SECONDS)
        assert "Under ops.example.org: " in lines(ApiAnswer(200, encoded(made).decode(), {}))[1]


def test_basic_credentials_of_a_proxy_are_no_wrong_token(token_file: Path) -> None:
    basic = {"Authorization": "Basic dXNlcjpwYXNz", "Origin": "http://ops.example.org", "Host": "ops.example.org"}
    with running_panel(listen="0.0.0.0:0", token_file=str(token_file), hosts=("ops.example.org",)) as panel:
        for _ in range(TRIES + 1):
            assert panel.ask("GET", "/v1/status", **basic).kind == "token_missing"
        assert panel.ask("GET", "/v1/status", X_API_Key=TOKEN, **basic).status == 200
        cookie = panel.ask("POST", "/login", {"token": TOKEN}, **basic, **MARK).headers["set-cookie"].partition(";")[0]
        assert panel.ask("GET", "/v1/status", Cookie=cookie, **basic).status == 200


def test_a_token_of_a_proxy_counts_neither_for_nor_against_a_session(token_file: Path) -> None:
    for theirs in ({"Authorization": "Bearer eyJ.J.K"}, {"X_API_Key": "proxy"}, {"X_API_Key": ""}):
        with running_panel(listen="0.0.0.0:0", token_file=str(token_file)) as panel:
            signed_in = panel.ask("POST", "/login", {"token": TOKEN}, **theirs, **MARK)
            session = {"Cookie": signed_in.headers["set-cookie"].partition(";")[0], **theirs}
            for _ in range(TRIES + 1):
                assert panel.ask("GET", "/v1/status", **session).status == 200
            assert panel.ask("POST", "/v1/rollback", {}, **MARK, **session).status == 200
            for path in ("/v1/rollback", "/login"):
                assert panel.ask("POST", path, {}, **session).kind == "header_missing"
            elsewhere = {"Origin": "https://evil.example"}
            assert panel.ask("POST", "/v1/rollback", {}, **MARK, **session, **elsewhere).kind == "cross_site"
            kind = panel.ask("POST", "/v1/rollback", {}, **{**session, "Cookie": "modelward=x"}, **MARK).kind
            assert kind == ("bad_token" if any(theirs.values()) else "token_missing")


def test_wrong_tokens_count_for_the_client_behind_a_trusted_proxy(token_file: Path) -> None:
    keys = {"token_file": str(token_file), "trusted_proxies": ("127.0.0.1",)}
    with running_panel(listen="0.0.0.0:0", **keys) as panel:

        def tried(client: str) -> int:
            return panel.ask("GET", "/v1/status", Authorization="Bearer wrong", X_Forwarded_For=client).status

        assert [tried("198.51.100.1") for _ in range(TRIES + 1)] == [401] * TRIES + [429]
        assert tried("203.0.113.9, 198.51.100.1") == 429, "what a client wrote before its address changes nothing"
        assert tried("198.51.100.2") == 401


# the stream


def events(panel: RunningPanel, count: int) -> list[dict[str, object]]:
    viewer = http.client.HTTPConnection("127.0.0.1", panel.port, timeout=PATIENCE_SECONDS)
    with contextlib.closing(viewer):
        viewer.request("GET", "/live")
        stream, found = viewer.getresponse(), []
        while len(found) < count:
            line = stream.readline()
            if line.startswith(b"data: "):
                found.append(json.loads(line[6:]))
            if len(found) == count - 1:
                panel.admin.state["live"] += "+"
        return found


def test_a_viewer_receives_everything_once_and_then_what_changed(panel: RunningPanel) -> None:
    whole, change = events(panel, 2)
    assert set(whole) >= {"status", "workers", "versions", "alerts", "rollout", "history"}
    assert list(change) == ["status"]


def test_history_is_read_again_only_when_there_is_more(panel: RunningPanel) -> None:
    events(panel, 2)
    asked = panel.admin.asked_history
    events(panel, 2)
    assert panel.admin.asked_history <= asked + 1


def test_the_end_of_the_daemon_does_not_wait_for_viewers() -> None:
    with running_panel() as running:
        viewer = http.client.HTTPConnection("127.0.0.1", running.port, timeout=PATIENCE_SECONDS)
        viewer.request("GET", "/live")
        stream = viewer.getresponse()
        stream.readline()
    stream.read()
    viewer.close()


@pytest.mark.parametrize(("path", "most"), [("/live", MAX_VIEWERS), ("/v1/events", MAX_LISTENERS)])
def test_the_limit_to_viewers_holds_for_a_burst(panel: RunningPanel, path: str, most: int) -> None:
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    with contextlib.ExitStack() as stack:
        viewers = []
        for _ in range(most + 50):
            viewer = socket.create_connection(("127.0.0.1", panel.port), timeout=PATIENCE_SECONDS)
            stack.callback(viewer.close)
            viewers.append(viewer)
        for viewer in viewers:
            viewer.sendall(request)
        statuses = Counter(viewer.recv(12)[-3:].decode() for viewer in viewers)
        assert statuses == {"200": most, "503": 50}
        assert panel.ask("GET", "/v1/status").status == 200

    def admitted() -> bool:
        with socket.create_connection(("127.0.0.1", panel.port), timeout=PATIENCE_SECONDS) as viewer:
            viewer.sendall(request)
            return viewer.recv(12).endswith(b"200")

    eventually(admitted)


# connections of strangers


def test_what_a_look_says_of_a_body_is_not_waited_for(panel: RunningPanel) -> None:
    for more in (b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n"):
        with socket.create_connection(("127.0.0.1", panel.port), timeout=BODY_SECONDS / 2) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n" + more + b"\r\n")
            answer = b""
            while chunk := client.recv(65_536):
                answer += chunk
        assert answer.startswith(b"HTTP/1.1 200 ") and b"connection: close" in answer.lower()


def test_connections_that_were_let_in_to_nothing_keep_nobody_out(guarded: RunningPanel) -> None:
    held = b"POST /login HTTP/1.1\r\nHost: localhost\r\nX-Modelward: 1\r\nContent-Length: 5\r\n\r\n"
    with contextlib.ExitStack() as stack:
        viewer = http.client.HTTPConnection("127.0.0.1", guarded.port, timeout=PATIENCE_SECONDS)
        stack.callback(viewer.close)
        viewer.request("GET", "/live", headers={"Authorization": f"Bearer {TOKEN}"})
        stream = viewer.getresponse()
        assert stream.readline() == b"retry: 2000\n"
        for _ in range(MAX_CONNECTIONS + 100):
            stranger = stack.enter_context(
                socket.create_connection(("127.0.0.1", guarded.port), timeout=PATIENCE_SECONDS)
            )
            stranger.sendall(held)
        for _ in range(20):
            assert guarded.ask("GET", "/v1/status", Authorization=f"Bearer {TOKEN}").status == 200
        guarded.admin.state["live"] = "v7"
        assert eventually(lambda: b'"live":"v7"' in stream.readline())


def test_the_address_with_the_most_connections_makes_room(guarded: RunningPanel) -> None:
    held = b"POST /login HTTP/1.1\r\nHost: localhost\r\nX-Modelward: 1\r\nContent-Length: 5\r\n\r\n"
    with contextlib.ExitStack() as stack:

        def connected(address: str) -> socket.socket:
            client = stack.enter_context(socket.socket())
            client.settimeout(PATIENCE_SECONDS)
            client.bind((address, 0))
            client.connect(("127.0.0.1", guarded.port))
            client.sendall(held)
            return client

        quiet = connected("127.0.0.2")
        many = [connected("127.0.0.3") for _ in range(MAX_CONNECTIONS + 50)]
        for loud in many[:40]:
            with contextlib.suppress(ConnectionResetError):
                assert loud.recv(1) == b""
        quiet.sendall(b"{}   ")
        assert quiet.recv(12) == b"HTTP/1.1 400"


def test_a_desk_that_cannot_answer_is_shown_as_such() -> None:
    class Broken(FakeDesk):
        async def history(self, count: int, kind: str, before: int = 0) -> dict[str, object]:
            from modelward.daemon.state.async_store import CannotKeep

            raise CannotKeep("cannot keep state: disk I/O error")

    with running_panel(Broken()) as running:
        whole, _ = events(running, 2)
        assert whole["history"] == {"unavailable": "cannot keep state: disk I/O error"}


def test_is_off_when_told_so() -> None:
    with running_panel(listen="") as running:
        assert running.port == 0 and not running.server.problem
    assert Panel().listen == "127.0.0.1:5000"


def test_a_token_file_that_cannot_be_used_is_a_figure_for_an_alert_until_it_is_mended(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    os.mkfifo(path)
    with running_panel(token_file=str(path)) as panel:
        assert panel.ask("POST", "/v1/sweep", {}, **MARK, Authorization="Bearer good").status == 401

        def unusable() -> list[str]:
            asyncio.run_coroutine_threadsafe(panel.server.keep(), panel.loop).result(PATIENCE_SECONDS)
            return [figure.because for figure in panel.server.figures()]

        assert len(unusable()) == 1 and "not a regular file" in unusable()[0]
        (tmp_path / "new").write_text("good\n")
        (tmp_path / "new").rename(path)
        assert unusable() == []


def test_a_cookie_costs_as_much_as_any_other_of_its_length(guarded: RunningPanel) -> None:
    def cpu_seconds(value: str) -> float:
        """The least of several, in the one process of server and client: what runs beside it costs others."""

        def once() -> float:
            began = time.process_time()
            assert not guarded.ask("GET", "/session", Cookie=f'a="{value}"').json["logged_in"]
            return time.process_time() - began

        return min(once() for _ in range(5))

    plain, *others = (cpu_seconds(pair * 4000) for pair in ("ab", '\\"', "\\1", ";a", "a=", '";'))
    assert max(others) < 10 * plain


def test_a_piece_of_an_upload_passes_the_same_gate_and_may_be_larger_than_any_other_body(guarded: RunningPanel) -> None:
    files = [{"path": "model.onnx", "bytes": 1 << 21, "received": 0}]
    guarded.admin.sent["a" * 16] = {"id": "a" * 16, "version": "v2", "kind": "directory", "files": files}
    place, piece, known = f"/v1/uploads/{'a' * 16}?file=0&offset=0", bytes(1 << 21), f"Bearer {TOKEN}"
    assert guarded.ask("PUT", place, b"x", **MARK).status == 401
    assert guarded.ask("PUT", place, b"x").kind == "header_missing"
    assert guarded.ask("PUT", place, b"x", Authorization=known, Origin="http://evil.example", **MARK).status == 403
    assert guarded.ask("PUT", place, b"x", Authorization=known, Host="evil.example", **MARK).status == 421
    for method, path in (("POST", "/v1/uploads"), ("DELETE", place), ("POST", "/v1/delete"), ("GET", "/v1/uploads")):
        assert guarded.ask(method, path, {}, **MARK).status == 401, (method, path)
    assert files[0]["received"] == 0
    assert guarded.ask("PUT", place, piece, Authorization=known, **MARK).json == {"received": 1 << 21}
