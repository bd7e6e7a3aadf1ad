"""Which users of this machine get into the panel, and how everybody else does: real users, sockets and links."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tests.fakes.admin_interface import RunningPanel, running_panel
from tests.support import PATIENCE_SECONDS

from modelward.daemon.panel.login_links import LINK_SECONDS, MAX_LINKS, Links
from modelward.daemon.panel.loopback_user import OVERFLOW, owners

MARK = {"X_Modelward": "1"}
STRANGER = 61_003
FRIEND = 61_004
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")

_ASK = """
import encodings.idna, os, socket, sys
os.setgroups([]), os.setgid(int(sys.argv[1])), os.setuid(int(sys.argv[1]))
with socket.create_connection(("127.0.0.1", int(sys.argv[2])), 15) as client:
    client.sendall(sys.argv[3].encode())
    print(client.recv(12).decode()[-3:])
"""


@pytest.fixture
def panel() -> Iterator[RunningPanel]:
    """A panel as it is without a word of tokens in the configuration; FRIEND is an operator."""
    with running_panel(operator=lambda uid: uid in (os.geteuid(), FRIEND)) as running:
        yield running


def ask_as(uid: int, panel: RunningPanel, method: str, path: str, **headers: str) -> int:
    """The status that a process of this user gets."""
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", *(f"{name}: {text}" for name, text in headers.items())]
    body = "" if method == "GET" else "{}"
    request = "\r\n".join([*lines, f"Content-Length: {len(body)}", "", body])
    done = subprocess.run(
        [sys.executable, "-c", _ASK, str(uid), str(panel.port), request],
        capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=True,
    )  # fmt: skip
    return int(done.stdout)


@as_root
def test_another_user_of_this_machine_reads_and_changes_nothing(panel: RunningPanel) -> None:
    for path in ("/v1/status", "/v1/logs/access", "/metrics", "/v1/events", "/live", "/v1/history"):
        assert ask_as(STRANGER, panel, "GET", path) == 401
    for path in ("/v1/rotate", "/v1/restart", "/v1/sweep", "/v1/rollback", "/v1/panel/link"):
        assert ask_as(STRANGER, panel, "POST", path, **{"X-Modelward": "1"}) == 401
    for path in ("/", "/health", "/ready", "/session"):
        assert ask_as(STRANGER, panel, "GET", path) == 200
    assert panel.admin.requests == []


@as_root
def test_an_operator_of_this_machine_needs_no_token(panel: RunningPanel) -> None:
    assert ask_as(FRIEND, panel, "GET", "/v1/status") == 200
    assert ask_as(FRIEND, panel, "POST", "/v1/rollback", **{"X-Modelward": "1"}) == 200
    assert ask_as(FRIEND, panel, "POST", "/v1/rollback") == 403
    assert panel.ask("GET", "/session").json == {
        "tokens": True, "logged_in": False, "may_read": True, "may_change": True,
    }  # fmt: skip


@as_root
def test_a_socket_of_an_operator_that_is_closed_already_lets_nobody_in(panel: RunningPanel) -> None:
    """The kernel shows a socket that no process holds any more as root's."""
    request = b"POST /v1/rollback HTTP/1.1\r\nHost: localhost\r\nX-Modelward: 1\r\nContent-Length: 2\r\n\r\n{}"
    code = f"""
import encodings.idna, os, socket
os.setgroups([]), os.setgid({STRANGER}), os.setuid({STRANGER})
for _ in range(50):
    client = socket.create_connection(("127.0.0.1", {panel.port}))
    client.sendall({request!r})
    client.close()
"""
    subprocess.run([sys.executable, "-c", code], timeout=PATIENCE_SECONDS, check=True)
    assert panel.ask("GET", "/v1/status").status == 200
    assert panel.admin.requests == []


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"])
def test_what_an_operators_proxy_passes_on_needs_a_token(panel: RunningPanel, header: str) -> None:
    assert panel.ask("GET", "/v1/status").status == 200
    assert panel.ask("GET", "/v1/status", **{header: "10.1.2.3"}).status == 401
    connection = http.client.HTTPConnection("127.0.0.1", panel.port, timeout=PATIENCE_SECONDS)
    with contextlib.closing(connection):
        for path, headers, status in (("/health", {header: "10.1.2.3"}, 200), ("/v1/status", {}, 401)):
            connection.request("GET", path, headers=headers)  # nor does what follows on the same connection
            response = connection.getresponse()
            response.read()
            assert response.status == status


def test_what_follows_an_upgrade_on_a_connection_is_not_taken_up(panel: RunningPanel) -> None:
    hidden = b"POST /v1/rollback HTTP/1.1\r\nHost: localhost\r\nX-Modelward: 1\r\nContent-Length: 2\r\n\r\n{}"
    outer = (
        b"POST /login HTTP/1.1\r\nHost: localhost\r\nX-Modelward: 1\r\nConnection: Upgrade\r\nUpgrade: any\r\n"
        b"Content-Length: %d\r\n\r\n" % len(hidden)
    )
    last = b"GET /login HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"  # nobody waits for its end
    with socket.create_connection(("127.0.0.1", panel.port), timeout=PATIENCE_SECONDS) as client:
        client.sendall(outer)
        with contextlib.suppress(OSError):
            client.sendall(hidden + last)
            while client.recv(65_536):
                continue
    assert panel.admin.requests == []


def test_a_user_of_another_namespace_is_nobody() -> None:
    overflow = int(Path(OVERFLOW).read_text())
    asked: list[int] = []

    def operator(uid: int) -> bool:
        asked.append(uid)
        return True

    if os.geteuid() != 0:
        pytest.skip("only root can be another user")
    with running_panel(operator=operator) as panel:
        assert ask_as(overflow, panel, "GET", "/v1/status") == 401
    assert asked == []


def test_the_kernel_names_the_owner_of_each_end_over_both_protocols() -> None:
    for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        try:
            server = socket.create_server((host, 0), family=family)
        except OSError:
            continue
        with server, socket.create_connection((host, server.getsockname()[1])) as client:
            pair = (client.getsockname()[:2], client.getpeername()[:2])
            assert owners(pair[1][1])[pair] == os.geteuid()
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            assert owners(port)[client.getsockname(), ("127.0.0.1", port)] == os.geteuid()


# links and the token


def test_makes_a_token_of_its_own_that_is_read_by_owner_and_group_alone(panel: RunningPanel) -> None:
    path = Path(panel.server.token_file)
    assert path.stat().st_mode & 0o777 == 0o640
    token = path.read_text().splitlines()[-1]
    assert len(token) >= 40
    passed_on = {"X_Real_IP": "10.0.0.1"}
    assert panel.ask("GET", "/v1/status", **passed_on).status == 401
    assert panel.ask("GET", "/v1/status", Authorization=f"Bearer {token}", **passed_on).status == 200


def link(panel: RunningPanel) -> str:
    """The code in a new link."""
    parts = urlsplit(panel.link())
    assert parts.netloc == f"127.0.0.1:{panel.port}" and parts.fragment.startswith("login=")
    return parts.fragment.removeprefix("login=")


def test_a_link_logs_one_browser_in_once(panel: RunningPanel) -> None:
    code, passed_on = link(panel), {"X_Forwarded_For": "10.0.0.1"}
    answer = panel.ask("POST", "/login", {"code": code}, **passed_on, **MARK)
    assert answer.status == 204 and code not in answer.headers["set-cookie"]
    cookie = answer.headers["set-cookie"].partition(";")[0]
    assert panel.ask("GET", "/v1/status", Cookie=cookie, **passed_on).status == 200
    again = panel.ask("POST", "/login", {"code": code}, **passed_on, **MARK)
    assert (again.status, again.kind) == (401, "bad_link") and "modelward panel" in again.json["error"]["message"]
    assert panel.ask("POST", "/v1/panel/link", {}, **MARK).status == 404  # over api.sock alone


def test_the_session_of_a_link_ends_with_the_token_it_stands_for(panel: RunningPanel) -> None:
    passed_on = {"X_Forwarded_For": "10.0.0.1"}
    answer = panel.ask("POST", "/login", {"code": link(panel)}, **passed_on, **MARK)
    cookie = answer.headers["set-cookie"].partition(";")[0]
    Path(panel.server.token_file).write_text("another-token\n")
    assert panel.ask("GET", "/v1/status", Cookie=cookie, **passed_on).status == 401


def test_a_link_is_good_for_a_while_and_only_so_many_wait() -> None:
    links = Links()
    old = links.make("mark", 0.0)
    assert links.use(old, LINK_SECONDS + 1) == ""
    codes = [links.make("mark", 0.0) for _ in range(MAX_LINKS + 1)]
    assert [links.use(code, LINK_SECONDS) for code in codes] == [""] + ["mark"] * MAX_LINKS
    assert links.use("no code", 0.0) == ""
