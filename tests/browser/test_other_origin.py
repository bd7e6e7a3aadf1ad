"""A page of another origin in a real Chromium: what it may do when it is named in the settings, and when it is not."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.browser.conftest import Open
from tests.worker.http.serving import serving

pytestmark = pytest.mark.browser

ASK = """
const [url, done] = arguments;
const form = new FormData();
const sound = new Int16Array(16000), head = new DataView(new ArrayBuffer(44));
"RIFF".split("").forEach((c, i) => head.setUint8(i, c.charCodeAt(0)));
"WAVEfmt ".split("").forEach((c, i) => head.setUint8(8 + i, c.charCodeAt(0)));
"data".split("").forEach((c, i) => head.setUint8(36 + i, c.charCodeAt(0)));
head.setUint32(4, 32036, true); head.setUint32(16, 16, true); head.setUint16(20, 1, true); head.setUint16(22, 1, true);
head.setUint32(24, 16000, true); head.setUint32(28, 32000, true);
head.setUint16(32, 2, true); head.setUint16(34, 16, true); head.setUint32(40, 32000, true);
form.append("file", new Blob([head.buffer, sound.buffer]), "a.wav");
const headers = {"Authorization": "Bearer secret", "X-Stainless-Lang": "js"};
fetch(url + "/v1/audio/transcriptions", {method: "POST", body: form, headers})
  .then(async (answer) => done([answer.status, (await answer.json()).text, answer.headers.get("X-Model-Version")]))
  .catch((error) => done([0, String(error), ""]));
"""
TALK = """
const [url, done] = arguments;
const socket = new WebSocket(url);
socket.onopen = () => {
  socket.send(JSON.stringify({mode: "offline", itn: false}));
  socket.send(new Int16Array(16000));
  socket.send(JSON.stringify({is_speaking: false}));
};
socket.onmessage = (event) => { done(JSON.parse(event.data).text); socket.close(); };
socket.onerror = () => done("refused");
"""


@pytest.fixture
def elsewhere() -> Iterator[str]:
    """The origin of an empty page."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html><title>elsewhere</title><link rel=icon href='data:,'>")

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_a_page_that_is_named_calls_with_a_token_and_reads_the_answer(
    tmp_path: Path, elsewhere: str, browser: Open
) -> None:
    (tmp_path / "tokens").write_text("secret\n")
    with serving(tmp_path, token_file=str(tmp_path / "tokens"), cors_origins=(elsewhere,)) as served:
        page = browser().go(elsewhere)
        assert page.driver.execute_async_script(ASK, served.url) == [200, "v1+itn", "v1"]
        page.go("about:blank")


def test_a_page_that_is_not_named_reads_nothing(tmp_path: Path, elsewhere: str, browser: Open) -> None:
    with serving(tmp_path) as served:
        page = browser().go(elsewhere)
        page.expect_console("CORS", "ERR_FAILED")
        status, error, _ = page.driver.execute_async_script(ASK, served.url)
        assert status == 0 and "Failed to fetch" in error
        page.go("about:blank")


@pytest.mark.parametrize("named", [True, False])
def test_a_websocket_of_a_page_is_taken_when_it_is_named_alone(
    tmp_path: Path, elsewhere: str, browser: Open, named: bool
) -> None:
    with serving(tmp_path, cors_origins=(elsewhere,) if named else ()) as served:
        page = browser().go(elsewhere)
        page.expect_console("WebSocket")
        found = page.driver.execute_async_script(TALK, served.url.replace("http:", "ws:") + "/")
        assert found == ("v1" if named else "refused")
        page.go("about:blank")
