"""A directory behind https, on one port, whose answers with large files can be made wrong, one after the other."""

from __future__ import annotations

import ssl
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any, Literal

Fault = Literal["error", "cut", "more", "hangs"]
"""What is wrong with an answer: its status is 500; it ends in the middle; it has more bytes than the file; it stops in
the middle until the site ends or `release` is called."""
MORE_BYTES, LEAST_BYTES = 1 << 20, 1 << 16


class HttpsSite:
    """See the module. `faults` are those of the next requests for files of LEAST_BYTES or more. `hanging` is set when
    an answer hangs.

    `tokens` are the Authorization headers that came, "" for none. Nothing listens before `start`.
    """

    def __init__(self, directory: Path, tls: ssl.SSLContext, *, port: int = 0, ranges: bool = True) -> None:
        self.directory, self.port, self.ranges, self._tls = directory, port, ranges, tls
        self.faults = deque[Fault]()
        self.tokens = list[str]()
        self.hanging, self._released = Event(), Event()
        self._server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}/"

    def start(self) -> None:
        handler = type("OneHandler", (_Handler,), {"site": self})
        self._server = _Server(("127.0.0.1", self.port), handler)
        self._server.socket = self._tls.wrap_socket(
            self._server.socket, server_side=True, do_handshake_on_connect=False
        )
        self.port = self._server.server_port
        self.hanging.clear()
        self._released.clear()
        Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def release(self) -> None:
        """Answers that hang are cut off."""
        self._released.set()

    def stop(self) -> None:
        self.release()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
        self._server = None

    def wait(self) -> None:
        """Until `release`."""
        self.hanging.set()
        self._released.wait()


@contextmanager
def served(directory: Path, tls: ssl.SSLContext, *, ranges: bool = True) -> Iterator[HttpsSite]:
    site = HttpsSite(directory, tls, ranges=ranges)
    site.start()
    try:
        yield site
    finally:
        site.stop()


class _Server(ThreadingHTTPServer):
    """A client that ends a connection is no error to print."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


class _Handler(BaseHTTPRequestHandler):
    site: HttpsSite
    timeout = 60

    def do_GET(self) -> None:
        site = self.site
        site.tokens.append(self.headers.get("Authorization", ""))
        path = site.directory / self.path.lstrip("/").replace("%20", " ")
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "https://127.0.0.1:1/")
            self.end_headers()
            return
        if not path.is_file():
            self.send_error(404)
            return
        data = path.read_bytes()
        fault = site.faults.popleft() if len(data) >= LEAST_BYTES and site.faults else ""
        if fault == "error":
            self.send_error(500)
            return
        with suppress(OSError):  # the client has enough
            self._send(data, fault)

    def _send(self, data: bytes, fault: str) -> None:
        begin = 0
        if self.site.ranges and "Range" in self.headers:
            begin = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
            if begin >= len(data):
                self.send_error(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {begin}-{len(data) - 1}/{len(data)}")
        else:
            self.send_response(200)
        body = data[begin:] + bytes(MORE_BYTES if fault == "more" else 0)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if fault in ("cut", "hangs"):
            self.wfile.write(body[: len(body) // 2])
            if fault == "hangs":
                self.site.wait()
            return
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass
