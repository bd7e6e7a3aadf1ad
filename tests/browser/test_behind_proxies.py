"""The service below /asr and the panel below /panel of another name, behind each proxy of docs/proxies.md."""

from __future__ import annotations

import base64
import json
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests import asking
from tests.browser.conftest import Open, Page
from tests.fakes.admin_interface import RunningPanel, running_panel
from tests.fakes.certificates import server_context
from tests.proxies import NAME, PASSWORD, PROGRAMS, front
from tests.support import PATIENCE_SECONDS, eventually
from tests.worker.running import Worker, clip, words, worker
from websockets.sync.client import connect

pytestmark = pytest.mark.browser

TOKEN = "a-long-enough-token"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
BASIC = {"Authorization": "Basic " + base64.b64encode(":".join(PASSWORD).encode()).decode()}
STRANGER = "127.0.0.2"
"""Where clients come from in these tests: an address of this machine that is no trusted proxy."""
FORGED = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Prefix": "/evil", "Forwarded": "for=203.0.113.9"}
SAID = "five five five one two three four"


class Behind:
    """One proxy, and what is behind it."""

    def __init__(self, port: int, service: Worker, panel: RunningPanel, authority: Path) -> None:
        self.port, self.service, self.panel = port, service, panel
        self.tls = ssl.create_default_context(cafile=str(authority))
        self.origin = f"https://{NAME}:{port}"

    def client(self) -> httpx.Client:
        """A client elsewhere that knows the name."""
        transport = httpx.HTTPTransport(verify=self.tls, local_address=STRANGER)
        client = asking.client(transport=transport, base_url=f"https://127.0.0.1:{self.port}")
        client.headers["host"] = f"{NAME}:{self.port}"
        return client

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        with self.client() as client:
            return client.request(method, path, extensions={"sni_hostname": NAME}, **options)


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Behind]]:
    """Starts a proxy before the service and the panel that all of them share."""
    root = tmp_path_factory.mktemp("proxies")
    tokens, operators = root / "tokens", root / "operators"
    tokens.write_text(f"{TOKEN}\n")
    operators.write_text(f"{PASSWORD[0]}:{{PLAIN}}{PASSWORD[1]}\n")
    _, authority = server_context(root, NAME)
    keys: dict[str, Any] = {"token_file": str(tokens), "trusted_proxies": ("127.0.0.1",)}
    with ExitStack() as running:
        service = running.enter_context(
            worker(root, words(), base_path="/asr", jobs_dir=str(_directory(root / "jobs")), **keys)
        )
        panel = running.enter_context(running_panel(hosts=(NAME,), **keys))
        changes = {
            "127.0.0.1:7860": service.url.removeprefix("http://"),
            "127.0.0.1:5000": f"127.0.0.1:{panel.port}",
            f"/etc/ssl/{NAME}.pem": str(root / "server.pem"),
        }
        started: dict[str, Behind] = {}

        def start(name: str) -> Behind:
            if PROGRAMS[name] is None:
                pytest.skip(f"no {name} here: apt-get install {name}")
            if name not in started:
                more = {"/etc/nginx/operators": str(operators)} if name == "nginx" else {}
                port = running.enter_context(front(name, root / name, changes | more))
                started[name] = Behind(port, service, panel, authority)
            return started[name]

        yield start


def _directory(path: Path) -> Path:
    path.mkdir()
    return path


@pytest.fixture(params=list(PROGRAMS))
def behind(start: Callable[[str], Behind], request: pytest.FixtureRequest) -> Behind:
    return start(request.param)


def test_the_service_answers_below_its_path_and_knows_its_clients(behind: Behind) -> None:
    moved = behind.ask("GET", "/asr")
    assert moved.status_code in (302, 308) and httpx.URL(moved.headers["location"]).path == "/asr/"
    assert behind.ask("GET", "/asr/ready").json()["ready"] is True
    before = len(behind.service.lines("access.log"))
    upload = {"files": {"file": ("a.wav", clip("5551234"))}, "headers": BEARER | FORGED}
    assert SAID in behind.ask("POST", "/asr/v1/audio/transcriptions", **upload).json()["text"].lower()
    job = behind.ask("POST", "/asr/v1/jobs", **upload)
    assert job.status_code == 202 and job.headers["location"] == f"/asr/v1/jobs/{job.json()['id']}"
    assert behind.ask("GET", job.headers["location"], headers=BEARER).status_code == 200
    assert behind.ask("GET", "/asr/openapi.json", headers=BEARER | FORGED).json()["servers"] == [{"url": "/asr"}]
    assert behind.ask("POST", "/asr/api/reload-model").status_code == 401
    lines = eventually(lambda: found if len(found := behind.service.lines("access.log")[before:]) >= 5 else [])
    assert {line["client"] for line in lines} == {STRANGER}


def test_a_websocket_goes_through(behind: Behind) -> None:
    with (
        socket.create_connection(("127.0.0.1", behind.port)) as connection,
        connect(
            f"wss://{NAME}:{behind.port}/asr/",
            sock=connection,
            ssl=behind.tls,
            proxy=None,
            additional_headers=BEARER,
            open_timeout=PATIENCE_SECONDS,
        ) as talk,
    ):
        talk.send(json.dumps({"mode": "offline", "wav_format": "wav", "itn": False}))
        talk.send(clip("5551234"))
        talk.send(json.dumps({"is_speaking": False}))
        assert SAID in json.loads(talk.recv(PATIENCE_SECONDS))["text"].lower()


def test_a_browser_signs_in_to_the_page_with_a_cookie_of_that_path(behind: Behind) -> None:
    entered = behind.ask("POST", "/asr/", content=f"token={TOKEN}", headers={"Origin": behind.origin})
    cookie, _, fields = entered.headers["set-cookie"].partition("; ")
    there = httpx.URL(f"{behind.origin}/asr/").join(entered.headers["location"])
    assert (entered.status_code, there.path) == (303, "/asr/")
    assert "Path=/asr" in fields and "Secure" in fields
    assert behind.ask("GET", "/asr/", headers={"Cookie": cookie, **BASIC}).status_code == 200


def test_events_of_the_panel_come_at_once(behind: Behind) -> None:
    headers = {**BASIC, "X-API-Key": TOKEN}
    with (
        behind.client() as client,
        client.stream("GET", "/panel/v1/events", headers=headers, extensions={"sni_hostname": NAME}) as stream,
    ):
        lines = stream.iter_lines()
        assert next(lines) == ": hello"
        behind.panel.tell("sweep", {"freed": 1})
        assert next(line for line in lines if line) == "event: sweep"
        assert stream.headers["cache-control"] == "no-store, no-transform"


def test_a_login_to_the_panel_holds_for_its_path(behind: Behind) -> None:
    ours = {**BASIC, "X-Modelward": "1", "Origin": behind.origin, **FORGED}
    assert behind.ask("GET", "/panel/v1/status", headers=ours).status_code == 401
    entered = behind.ask("POST", "/panel/login", json={"token": TOKEN}, headers=ours)
    cookie, _, fields = entered.headers["set-cookie"].partition("; ")
    assert entered.status_code == 204 and "Secure" in fields and "Path=/;" not in f"{fields};"
    inside = {**ours, "Cookie": cookie}
    assert behind.ask("GET", "/panel/v1/status", headers=inside).json()["live"] == "v1"
    assert behind.ask("POST", "/panel/v1/rollback", json={}, headers=inside).status_code == 200
    files = {"version": "v9", "kind": "tar", "files": [{"path": "v9.tar", "bytes": 3 << 20}]}
    upload = behind.ask("POST", "/panel/v1/uploads", json=files, headers=inside).json()["id"]
    piece = f"/panel/v1/uploads/{upload}?file=0&offset=0"
    assert behind.ask("PUT", piece, content=bytes(3 << 20), headers=inside).json() == {"received": 3 << 20}
    for wrong in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        assert behind.ask("POST", "/panel/v1/rollback", json={}, headers=inside | wrong).status_code == 403
    assert behind.ask("DELETE", "/panel/session", headers=inside).status_code == 204
    assert behind.ask("GET", "/panel/v1/status", headers=inside).status_code == 401


def _anyhow(page: Page) -> Page:
    """Takes the certificate of an authority that the browser does not know."""
    page.driver.execute_cdp_cmd("Security.setIgnoreCertificateErrors", {"ignore": True})
    return page


@pytest.mark.parametrize("name", ["nginx", "haproxy"])  # by a link, by a token
def test_the_panel_is_whole_in_a_browser(start: Callable[[str], Behind], browser: Open, name: str) -> None:
    behind = start(name)
    page, code = _anyhow(browser()), behind.panel.link().partition("#")[2]
    if name == "nginx":  # it asks for a password first, and the browser sends that with each request
        page.expect_console("/favicon.ico")
        page.go(f"https://{':'.join(PASSWORD)}@{NAME}:{behind.port}/panel/static/icon.svg")
        page.go(f"{behind.origin}/panel/#{code}")
    else:
        page.expect_console("401")
        page.go(f"{behind.origin}/panel")
        page.one("#token").send_keys(TOKEN)
        page.click("Log in")
    page.reads(".connection", "connected")
    page.reads("header", "v1")
    assert [cookie["path"] for cookie in page.driver.get_cookies()] == ["/panel"]
    page.go("about:blank")


@pytest.mark.parametrize("name", ["nginx", "caddy"])
def test_the_page_is_whole_in_a_browser(
    start: Callable[[str], Behind], browser: Open, tmp_path: Path, name: str
) -> None:
    behind = start(name)
    page = _anyhow(browser())
    page.expect_console("401")
    page.go(f"{behind.origin}/asr")
    page.one("#token").send_keys(TOKEN)
    page.click("Continue")
    page.reads("#serving", "dtmf-v1.1")
    assert page.driver.current_url == f"{behind.origin}/asr/"
    (tmp_path / "said.wav").write_bytes(clip("5551234"))
    page.all("#files")[0].send_keys(str(tmp_path / "said.wav"))
    assert SAID in page.reads(".card .text", "five")
    page.go("about:blank")
