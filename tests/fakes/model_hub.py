"""A server that has a model: the interfaces of Hugging Face and ModelScope, directories, archives.

Faults are listed for a path and taken one for each request, so that a test sees what comes after them.
"""

from __future__ import annotations

import hashlib
import json
import re
import ssl
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
COMMITTED = 1_727_395_200  # 2024-09-27


@dataclass
class ModelHub:
    """What it has and what went wrong. `files` are those of the repository iic/S and of the directory /files/.

    `faults` by path: "503", "429" (with Retry-After 0), "cut:N" (the connection ends after N bytes), "whole" (ranges
    are not known), "wrong" (other bytes of the same length), "longer", "endless", "gzip", "unsized" (no length is
    given), "to:URL" (a redirect), "held" (it waits for `go_on` after half of the bytes), "before" (and before the
    first). Those of "*" count for requests that have none of their own.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    pages: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    faults: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    listing_of: dict[str, Any] = field(default_factory=dict)
    page_size: int = 1000
    token: str = ""
    url: str = ""
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    go_on: threading.Event = field(default_factory=threading.Event)
    held: int = 0

    def asked(self, part: str) -> list[dict[str, str]]:
        """The headers of the GETs whose path holds this."""
        return [headers for method, path, headers in self.requests if part in path and method == "GET"]

    def fault(self, path: str) -> str:
        for key in (path, "*"):
            if self.faults.get(key):
                return self.faults[key].pop(0)
        return ""


def git_digest(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def hugging_face_entries(files: dict[str, bytes]) -> list[dict[str, Any]]:
    """Large files with the SHA-256 of LFS, small ones with Git's digest alone."""
    entries: list[dict[str, Any]] = [{"type": "directory", "path": "golden", "oid": "0" * 40, "size": 0}]
    for path, content in files.items():
        entry: dict[str, Any] = {"type": "file", "path": path, "size": len(content), "oid": git_digest(content)}
        if path.endswith(".onnx"):
            oid = hashlib.sha256(content).hexdigest()
            entry |= {"lfs": {"oid": oid, "size": len(content), "pointerSize": 134}, "xetHash": "f" * 64}
        entries.append(entry)
    return entries


def hugging_face_headers(path: str, content: bytes) -> dict[str, str]:
    """What that hub's answers about a file have besides."""
    large = path.endswith(".onnx")
    etag = f'"{hashlib.sha256(content).hexdigest() if large else git_digest(content)}"'
    linked = {"X-Linked-Etag": etag, "X-Linked-Size": str(len(content))} if large else {}
    return {"ETag": etag, "X-Repo-Commit": COMMIT, **linked}


def modelscope_entries(files: dict[str, bytes]) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = [{"Name": "golden", "Path": "golden", "Type": "tree", "Size": 0, "Sha256": ""}]
    for path, content in files.items():
        entries.append(
            {
                "Name": path.rpartition("/")[2],
                "Path": path,
                "Type": "blob",
                "Size": len(content),
                "Sha256": hashlib.sha256(content).hexdigest(),
                "Revision": COMMIT,
                "CommittedDate": COMMITTED,
                "IsLFS": path.endswith(".onnx"),
            }
        )
    return entries


class _Handler(BaseHTTPRequestHandler):
    """One request."""

    hub: ModelHub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        parts = urlsplit(self.path)
        path = unquote(parts.path)
        self.hub.requests.append((self.command, self.path, dict(self.headers.items())))
        with suppress(ConnectionError, ssl.SSLError):
            fault = self.hub.fault(path) if body else ""
            if self._failed(fault):
                return
            if path in self.hub.pages:
                kind, content = self.hub.pages[path]
                self._content(content, kind, body, fault)
            elif path.startswith("/api/") or "/resolve/" in path:
                self._hub(path, parse_qs(parts.query), body, fault)
            elif path.startswith("/files/"):
                self._directory(path.removeprefix("/files/"), body, fault)
            else:
                self._plain(404, b"not found")

    def _hold(self) -> None:
        self.hub.held += 1
        self.hub.go_on.wait(300)

    def _failed(self, fault: str) -> bool:
        if fault == "before":
            self._hold()
        elif fault.startswith("to:"):
            self._plain(302, b"", {"Location": fault[3:]})
        elif fault.isdigit():
            self._plain(int(fault), b"later", {"Retry-After": "0"})
        else:
            return False
        return True

    def _hub(self, path: str, query: dict[str, list[str]], body: bool, fault: str) -> None:
        if self.hub.token and self.headers.get("Authorization") != f"Bearer {self.hub.token}":
            self._plain(401, b"no")
        elif re.fullmatch(r"/api/models/iic/S/revision/(main|v2|" + COMMIT + ")", path):
            self._json({"sha": COMMIT, "lastModified": "2024-09-27T00:00:00.000Z", "id": "iic/S"})
        elif path == f"/api/models/iic/S/tree/{COMMIT}":
            self._tree(int(query.get("cursor", ["0"])[0]))
        elif path == "/api/v1/models/iic/S/repo/files":
            known = query["Revision"][0] in ("master", "v2", COMMIT)
            entries = self.hub.listing_of.get("ms", modelscope_entries(self.hub.files)) if known else None
            last = {"Id": "", "ShortId": COMMIT[:8], "CommittedDate": COMMITTED}
            self._json({"Code": 200, "Success": True, "Data": {"Files": entries, "LatestCommitter": last}})
        elif path == "/api/v1/models/iic/S/repo":
            self._file(query["FilePath"][0], body, fault)
        elif path.startswith(f"/iic/S/resolve/{COMMIT}/"):
            name = path.removeprefix(f"/iic/S/resolve/{COMMIT}/")
            self._file(name, body, fault, hugging_face_headers(name, self.hub.files.get(name, b"")))
        else:
            self._plain(404, b'{"Code": 404, "Success": false, "Message": "not found"}')

    def _tree(self, cursor: int) -> None:
        entries = self.hub.listing_of.get("hf", hugging_face_entries(self.hub.files))
        end = cursor + self.hub.page_size
        more = {}
        if end < len(entries):
            more["Link"] = f'<{self.hub.url}/api/models/iic/S/tree/{COMMIT}?cursor={end}>; rel="next"'
        self._plain(200, json.dumps(entries[cursor:end]).encode(), {"Content-Type": "application/json", **more})

    def _directory(self, path: str, body: bool, fault: str) -> None:
        if path and not path.endswith("/"):
            self._file(path, body, fault)
            return
        names = {name.removeprefix(path).partition("/") for name in self.hub.files if name.startswith(path)}
        links = sorted(head + slash for head, slash, _ in names)
        rows = "".join(f'<a href="{name}">{name}</a>\n' for name in ["../", *links])
        self._content(f"<html><h1>Index</h1><pre>{rows}</pre></html>".encode(), "text/html; charset=utf-8", body, fault)

    def _file(self, path: str, body: bool, fault: str, more: dict[str, str] | None = None) -> None:
        if path not in self.hub.files:
            self._plain(404, b"no such file")
            return
        self._content(self.hub.files[path], "application/octet-stream", body, fault, more)

    def _content(self, content: bytes, kind: str, body: bool, fault: str, more: dict[str, str] | None = None) -> None:
        headers = {"ETag": f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"', **(more or {})}
        headers, etag = {"Content-Type": kind, **headers}, headers["ETag"]
        if self.headers.get("If-None-Match") == etag:
            self._plain(304, b"", headers)
            return
        start, status = 0, 200
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if asked and fault != "whole" and self.headers.get("If-Range", etag) == etag:
            start, status = int(asked[1]), 206
            if start >= len(content):
                self._plain(416, b"", {"Content-Range": f"bytes */{len(content)}"})
                return
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        sent = content[start:]
        if fault == "wrong":
            sent = bytes(byte ^ 1 for byte in sent)
        if fault == "longer":
            sent += b"more"
        if fault == "gzip":
            headers["Content-Encoding"] = "gzip"
        length = None if fault in ("endless", "unsized") else len(sent)
        self._head(status, headers, length)
        if not body:
            return
        if fault == "endless":
            while True:
                self.wfile.write(b"x" * 65536)
        elif fault.startswith("cut:"):
            self.wfile.write(sent[: int(fault[4:])])
            self.close_connection = True
        elif fault == "held":
            self.wfile.write(sent[: len(sent) // 2])
            self._hold()
            self.wfile.write(sent[len(sent) // 2 :])
        else:
            self.wfile.write(sent)

    def _json(self, data: object) -> None:
        self._plain(200, json.dumps(data).encode(), {"Content-Type": "application/json"})

    def _plain(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        self._head(status, headers or {}, len(content))
        if self.command != "HEAD" and status != 304:
            self.wfile.write(content)

    def _head(self, status: int, headers: dict[str, str], length: int | None) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if length is None:
            self.send_header("Connection", "close")
            self.close_connection = True
        else:
            self.send_header("Content-Length", str(length))
        self.end_headers()


@contextmanager
def model_hub(files: dict[str, bytes] | None = None, context: ssl.SSLContext | None = None) -> Iterator[ModelHub]:
    """A hub on a free port of this machine; with a context by https."""
    hub = ModelHub(dict(files or {}))
    handler = type("Handler", (_Handler,), {"hub": hub})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        hub.url = f"{'https' if context else 'http'}://127.0.0.1:{server.server_port}"
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield hub
        finally:
            hub.go_on.set()
            server.shutdown()
            thread.join()
