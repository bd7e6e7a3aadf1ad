"""Receivers of alerts on real ports: an HTTP server that answers by a script, badly on demand, and a mail server."""

from __future__ import annotations

import json
import socket
import socketserver
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
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


Scripted = Reply | Callable[[Posted], Reply]


@dataclass
class FakeReceiver:
    """Answers each POST with the next reply of `script`, or what it makes of the request; the last one for ever."""

    port: int
    script: list[Scripted] = field(default_factory=lambda: [Reply()])
    posts: list[Posted] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def next(self, posted: Posted) -> Reply:
        reply = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        return reply if isinstance(reply, Reply) else reply(posted)


@contextmanager
def fake_receiver(*script: Scripted) -> Iterator[FakeReceiver]:
    """A receiver for as long as the block runs."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            fake.posts.append(Posted(self.path, dict(self.headers), raw))
            _answer(self, fake, fake.next(fake.posts[-1]))

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


class _MailHandler(socketserver.StreamRequestHandler):
    """One connection, verb by verb."""

    fake: FakeMailServer
    at_once: ssl.SSLContext | None = None
    starttls: ssl.SSLContext | None = None
    sender, to = "", ()  # type: str, tuple[str, ...]

    def setup(self) -> None:
        if self.at_once is not None:
            self.request = self.at_once.wrap_socket(self.request, server_side=True)
        super().setup()

    def handle(self) -> None:
        self.say("220 fake ESMTP")
        while raw := self.rfile.readline():
            line = raw.decode().strip()
            verb = getattr(self, f"on_{line[:4].strip().lower()}", None)
            if verb is None:
                self.say("250 ok")
            elif verb(line):
                return

    def finish(self) -> None:
        with suppress(OSError):
            super().finish()
        self.request.close()  # the encrypted one is none that the server knows

    def say(self, line: str) -> None:
        self.wfile.write(line.encode() + b"\r\n")

    def on_ehlo(self, line: str) -> None:
        self.say("250-fake")
        if self.starttls is not None and not isinstance(self.request, ssl.SSLSocket):
            self.say("250-STARTTLS")
        self.say("250 AUTH PLAIN")

    def on_star(self, line: str) -> None:
        assert self.starttls is not None
        self.say("220 go on")
        self.request = self.starttls.wrap_socket(self.request, server_side=True)
        super().setup()

    def on_auth(self, line: str) -> None:
        self.fake.logins.append(line.split()[-1])
        self.say("235 welcome")

    def on_mail(self, line: str) -> None:
        self.sender, self.to = line.split("<")[1].split(">")[0], ()
        self.say("250 ok")

    def on_rcpt(self, line: str) -> None:
        who = line.split("<")[1].split(">")[0]
        if who in self.fake.refuses:
            self.say("550 unknown here")
            return
        self.to = (*self.to, who)
        self.say("250 ok")

    def on_data(self, line: str) -> None:
        self.say("354 go on")
        content = b"".join(iter(self.rfile.readline, b".\r\n"))
        self.fake.mails.append((self.sender, list(self.to), content))
        self.say("250 kept")

    def on_quit(self, line: str) -> bool:
        self.say("221 bye")
        return True


@contextmanager
def fake_mail_server(
    *, at_once: ssl.SSLContext | None = None, starttls: ssl.SSLContext | None = None
) -> Iterator[FakeMailServer]:
    """A mail server for as long as the block runs: encrypted `at_once`, by `starttls`, or not at all."""

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        allow_reuse_address = True

        def handle_error(self, request: object, client_address: object) -> None: ...

    handler = type("Handler", (_MailHandler,), {"at_once": at_once, "starttls": starttls})
    with Server(("127.0.0.1", 0), handler) as server:
        fake = handler.fake = FakeMailServer(server.server_address[1])
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield fake
        finally:
            server.shutdown()
            thread.join()
