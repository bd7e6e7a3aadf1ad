"""A daemon's admin API with answers from a script: real HTTP on a real Unix socket."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from tests.fakes.answers import KINDS, filled

Reply = tuple[int, Any]
"""A status with an object for JSON, to which the fields that it lacks are added, or with bytes as they are."""


class Asked(NamedTuple):
    """A request as it arrived."""

    method: str
    path: str
    query: dict[str, str]
    body: Any


class FakeAdmin:
    """Answers "METHOD /path" from `replies`: a reply, or a function of the request that gives one."""

    def __init__(self, socket_path: Path) -> None:
        self.socket_path = socket_path
        self.replies: dict[str, Reply | Callable[[Asked], Reply]] = {}
        self.asked: list[Asked] = []

    def reply(self, method: str, path: str, body: Any, status: int = 200) -> None:
        """From now on the answer to this."""
        self.replies[f"{method} {path}"] = (status, body)

    def answer(self, asked: Asked) -> Reply:
        self.asked.append(asked)
        reply = self.replies.get(f"{asked.method} {asked.path}")
        if reply is None:
            message = f"nothing at {asked.path}"
            return 404, {"error": {"message": message, "type": "not_found", "code": "no_such_route"}}
        status, body = reply(asked) if callable(reply) else reply
        kinds = KINDS.get((asked.method, asked.path))
        return status, filled(kinds[0], body) if kinds and status < 400 else body

    def posts(self) -> list[Asked]:
        """What was asked to change something."""
        return [asked for asked in self.asked if asked.method == "POST"]


@contextmanager
def fake_admin(socket_path: Path) -> Iterator[FakeAdmin]:
    """A fake daemon behind `socket_path` for as long as the block runs."""
    fake = FakeAdmin(socket_path)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer("GET")

        def do_POST(self) -> None:
            self._answer("POST")

        def _answer(self, method: str) -> None:
            parts = urlsplit(self.path)
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            asked = Asked(method, parts.path, dict(parse_qsl(parts.query)), json.loads(raw) if raw else None)
            status, body = fake.answer(asked)
            data = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def address_string(self) -> str:
            return "unix"

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Server(socketserver.ThreadingUnixStreamServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            pass  # the command hung up first; what it made of that is what a test looks at

    with Server(str(socket_path), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield fake
        finally:
            server.shutdown()
            thread.join()
