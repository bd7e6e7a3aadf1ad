"""Receivers of alerts on real ports: an HTTP server that answers by a script, badly on demand, and a mail server."""

from __future__ import annotations

import json
import socket
import socketserver
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.support import PATIENCE_SECONDS


@dataclass(frozen=True)
class Reply:
    """What a request gets. `manner`: plain, hang (no answer), rst (connection reset), drip (a byte a tenth second)."""

    status: int = 200
    body: bytes = b"ok"
    headers: tuple[tuple[str, str], ...] = ()
    manner: str = "plain"


@dataclass(frozen=True)
class Posted:
    """A request as it arrived."""

    path: str
    headers: dict[str, str]
    raw: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.raw)


@dataclass
class FakeReceiver:
    """Answers each POST with the next reply of `script`, the last one for ever."""

    port: int
    script: list[Reply] = field(default_factory=lambda: [Reply()])
    posts: list[Posted] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def next(self) -> Reply:
        return self.script.pop(0) if len(self.script) > 1 else self.script[0]


@contextmanager
def fake_receiver(*script: Reply) -> Iterator[FakeReceiver]:
    """A receiver for as long as the block runs."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            fake.posts.append(Posted(self.path, dict(self.headers), raw))
            _answer(self, fake, fake.next())

        def log_message(self, format: str, *args: object) -> None: ...

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None: ...

    with Server(("127.0.0.1", 0), Handler) as server:
        fake = FakeReceiver(server.server_address[1], list(script) or [Reply()])
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield fake
        finally:
            fake.over.set()
            server.shutdown()
            thread.join()


def _answer(handler: BaseHTTPRequestHandler, fake: FakeReceiver, reply: Reply) -> None:
    handler.close_connection = True
    if reply.manner == "hang":
        fake.over.wait(PATIENCE_SECONDS)
        return
    if reply.manner == "rst":
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        handler.connection.close()
        return
    if reply.manner == "drip":
        with suppress(OSError):
            for byte in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"x" * 10_000:
                if fake.over.wait(0.1):
                    return
                handler.connection.sendall(bytes([byte]))
        return
    handler.send_response(reply.status)
    for name, value in (("Content-Length", str(len(reply.body))), *reply.headers):
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(reply.body)


@dataclass
class FakeMailServer:
    """Keeps what was sent. `refuses` are receivers it does not take; `logins` the credentials as they came."""

    port: int
    refuses: set[str] = field(default_factory=set)
    mails: list[tuple[str, list[str], bytes]] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)


@contextmanager
def fake_mail_server() -> Iterator[FakeMailServer]:
    """A mail server for as long as the block runs."""

    class Handler(socketserver.StreamRequestHandler):
        def say(self, line: str) -> None:
            self.wfile.write(line.encode() + b"\r\n")

        def handle(self) -> None:
            sender, to = "", list[str]()
            self.say("220 fake ESMTP")
            for raw in self.rfile:
                line = raw.decode().strip()
                verb = line[:4].upper()
                if verb == "EHLO":
                    self.say("250-fake")
                    self.say("250 AUTH PLAIN")
                elif verb == "AUTH":
                    fake.logins.append(line.split()[-1])
                    self.say("235 welcome")
                elif verb == "MAIL":
                    sender, to = line.split("<")[1].split(">")[0], []
                    self.say("250 ok")
                elif verb == "RCPT":
                    who = line.split("<")[1].split(">")[0]
                    if who in fake.refuses:
                        self.say("550 unknown here")
                    else:
                        to.append(who)
                        self.say("250 ok")
                elif verb == "DATA":
                    self.say("354 go on")
                    content = b"".join(iter(self.rfile.readline, b".\r\n"))
                    fake.mails.append((sender, to, content))
                    self.say("250 kept")
                elif verb == "QUIT":
                    self.say("221 bye")
                    return
                else:
                    self.say("250 ok")

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        allow_reuse_address = True

        def handle_error(self, request: object, client_address: object) -> None: ...

    with Server(("127.0.0.1", 0), Handler) as server:
        fake = FakeMailServer(server.server_address[1])
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield fake
        finally:
            server.shutdown()
            thread.join()
