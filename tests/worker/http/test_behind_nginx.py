"""WebSockets through nginx as it is often set up for them: clips get through, and no request is smuggled past it."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from tests.support import PATIENCE_SECONDS, eventually
from tests.worker.http.serving import Served, serving
from websockets.sync.client import connect

pytestmark = pytest.mark.system

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
CONFIG = """
worker_processes 1; daemon off; pid {root}/pid; error_log {root}/error.log;
events {{ worker_connections 64; }}
http {{
  access_log off;
  client_body_temp_path {root}/b; proxy_temp_path {root}/p; fastcgi_temp_path {root}/f;
  uwsgi_temp_path {root}/u; scgi_temp_path {root}/s;
  server {{
    listen unix:{root}/front;
    location / {{
      proxy_pass http://127.0.0.1:{port};
      proxy_http_version 1.1;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection "upgrade";
      proxy_set_header X-Forwarded-For $remote_addr;
    }}
  }}
}}
"""
KEY = base64.b64encode(os.urandom(16))
HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: " + KEY + b"\r\n\r\n"
)
CHANGE = b"POST /api/reload-model HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n"
LAST = b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
LENGTH = b"\r\nContent-Length: %d\r\n\r\n" % len(CHANGE)


@pytest.fixture
def front(tmp_path: Path) -> Iterator[tuple[Served, Path]]:
    """The service and the socket of an nginx before it."""
    if NGINX is None:
        pytest.skip("no nginx here: apt-get install nginx-light")
    root = tmp_path / "nginx"
    root.mkdir()
    with serving(tmp_path) as served:
        (root / "nginx.conf").write_text(CONFIG.format(root=root, port=served.port))
        with subprocess.Popen([NGINX, "-c", str(root / "nginx.conf")], stderr=subprocess.DEVNULL) as nginx:
            try:
                eventually(lambda: listens(root / "front"))
                yield served, root / "front"
            finally:
                nginx.terminate()
                nginx.wait(PATIENCE_SECONDS)


def listens(front: Path) -> bool:
    """The file is there a moment before anything listens on it."""
    with socket.socket(socket.AF_UNIX) as connection, suppress(OSError):
        connection.connect(str(front))
        return True
    return False


def opened(front: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(PATIENCE_SECONDS)
    connection.connect(str(front))
    return connection


def test_clips_come_through(front: tuple[Served, Path]) -> None:
    with connect("ws://service/", sock=opened(front[1]), proxy=None) as talk:
        talk.send(json.dumps({"mode": "offline", "itn": False}))
        talk.send(bytes(32000))
        talk.send(json.dumps({"is_speaking": False}))
        assert json.loads(talk.recv(PATIENCE_SECONDS))["text"] == "v1"


@pytest.mark.parametrize(
    "head",
    [
        HANDSHAKE,
        HANDSHAKE.replace(b"Version: 13", b"Version: 12"),
        HANDSHAKE.replace(KEY, b"x"),
        HANDSHAKE.replace(b"GET / ", b"GET /health "),
        HANDSHAKE.replace(b"\r\n\r\n", LENGTH),
        HANDSHAKE.replace(b"GET", b"POST").replace(b"\r\n\r\n", LENGTH),
    ],
    ids=["taken", "version", "key", "path", "body", "post"],
)
def test_no_request_gets_past_the_proxy(front: tuple[Served, Path], tmp_path: Path, head: bytes) -> None:
    with opened(front[1]) as connection:
        connection.sendall(head)
        with suppress(OSError):
            connection.sendall(CHANGE + LAST)
        answer = b""
        with suppress(OSError):
            while more := connection.recv(65536):
                answer += more
    assert re.match(rb"HTTP/1\.1 \d+ ", answer)
    lines = [json.loads(line) for line in (tmp_path / "access.log").read_text().splitlines()]
    changed = [line["status"] for line in lines if line["path"] == "/api/reload-model"]
    assert set(changed) <= {403}, "what nginx passed on carries its mark, and anything else was never a request"
