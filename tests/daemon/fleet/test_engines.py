"""A record and its files come through a directory and through https alike, from any byte on, within limits."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import ClassVar

import pytest
from tests.fakes.certificates import server_context

from modelward.daemon.fleet.engine import EngineAway, NotOffered, RecordEngine
from modelward.daemon.fleet.file_engine import FileEngine
from modelward.daemon.fleet.https_engine import HttpsEngine
from modelward.daemon.fleet.signature import MAX_SIGNED_BYTES

MODEL = os.urandom(300_000)


class Handler(BaseHTTPRequestHandler):
    root: ClassVar[Path]
    ranges: ClassVar[bool] = True
    tokens: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.tokens.append(self.headers.get("Authorization", ""))
        path = self.root / self.path.lstrip("/").replace("%20", " ")
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "https://127.0.0.1:1/")
            self.end_headers()
            return
        if not path.is_file():
            self.send_error(404)
            return
        data, begin = path.read_bytes(), 0
        if self.ranges and "Range" in self.headers:
            begin = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
            if begin >= len(data):
                self.send_error(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {begin}-{len(data) - 1}/{len(data)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(data) - begin))
        self.end_headers()
        cut = len(data) // 2 if path.name == "cut.bin" else len(data)
        with suppress(OSError):  # the client has enough
            self.wfile.write(data[begin:cut])

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def served(directory: Path, tls: ssl.SSLContext, *, ranges: bool = True) -> Iterator[tuple[str, list[str]]]:
    handler = type("OneHandler", (Handler,), {"root": directory, "ranges": ranges, "tokens": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
        Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"https://127.0.0.1:{server.server_port}/", handler.tokens  # type: ignore[attr-defined]
        server.shutdown()


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, Path]:
    return server_context(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def stick(tmp_path: Path) -> Path:
    (tmp_path / "models/v 2/golden").mkdir(parents=True)
    (tmp_path / "record.json").write_bytes(b"the record")
    (tmp_path / "models/v 2/model.onnx").write_bytes(MODEL)
    (tmp_path / "models/v 2/cut.bin").write_bytes(MODEL)
    (tmp_path / "models/v 2/golden/a.txt").write_bytes(b"text")
    return tmp_path


@pytest.fixture(params=["file", "https", "https without ranges"])
def engine(request: pytest.FixtureRequest, stick: Path, tls: tuple[ssl.SSLContext, Path]) -> Iterator[RecordEngine]:
    if request.param == "file":
        yield FileEngine(stick / "record.json")
        return
    with served(stick, tls[0], ranges=request.param == "https") as (url, _):
        yield HttpsEngine(f"{url}record.json", ca_file=str(tls[1]))


def whole(engine: RecordEngine, source: str, name: str, offset: int = 0) -> bytes:
    async def read() -> bytes:
        return b"".join([data async for data in engine.file(source, name, offset)])

    return asyncio.run(read())


def test_the_record_and_each_file_come_whole_and_from_any_byte_on(engine: RecordEngine) -> None:
    assert asyncio.run(engine.record()) == b"the record"
    assert whole(engine, "models/v 2", "golden/a.txt") == b"text"
    for offset in (0, 1, 131_072, 200_001, len(MODEL) - 1, len(MODEL)):
        assert whole(engine, "models/v 2", "model.onnx", offset) == MODEL[offset:]
    with pytest.raises(NotOffered):
        whole(engine, "models/v 2", "missing")
    with pytest.raises(NotOffered):
        whole(engine, "object:models/v2", "model.onnx")
    asyncio.run(engine.close())


def test_a_record_that_is_too_large_is_not_read_to_its_end(engine: RecordEngine, stick: Path) -> None:
    (stick / "record.json").write_bytes(b"x" * (2 << 20))
    assert len(asyncio.run(engine.record())) == MAX_SIGNED_BYTES + 1


def test_a_link_on_a_stick_leads_nowhere_else(stick: Path, tmp_path: Path) -> None:
    (stick / "models/v 2/link").symlink_to("/etc/hostname")
    os.mkfifo(stick / "models/v 2/fifo")
    for name in ("link", "fifo"):
        with pytest.raises(EngineAway):
            whole(FileEngine(stick / "record.json"), "models/v 2", name)
    with pytest.raises(NotOffered):
        asyncio.run(FileEngine(tmp_path / "gone").record())


@pytest.fixture
def server(stick: Path, tls: tuple[ssl.SSLContext, Path]) -> Iterator[tuple[str, list[str]]]:
    with served(stick, tls[0]) as found:
        yield found


def test_a_server_that_is_not_right_gives_a_reason(
    server: tuple[str, list[str]], tls: tuple[ssl.SSLContext, Path], tmp_path: Path
) -> None:
    url, ca_file = server[0], str(tls[1])
    for engine, because in (
        (HttpsEngine(f"{url}record.json"), "no trusted connection"),
        (HttpsEngine(f"{url}moved", ca_file=ca_file), "answered 302"),
        (HttpsEngine("https://127.0.0.1:1/record", ca_file=ca_file), "Connection refused"),
        (HttpsEngine(f"{url}record.json", ca_file=str(tmp_path / "missing")), "No such file"),
    ):
        with pytest.raises(EngineAway, match=because):
            asyncio.run(engine.record())
    with pytest.raises(EngineAway, match="cut off|IncompleteRead"):
        whole(HttpsEngine(f"{url}record.json", ca_file=ca_file), "models/v 2", "cut.bin")


def test_a_token_goes_to_the_host_of_the_record_alone(
    server: tuple[str, list[str]], stick: Path, tls: tuple[ssl.SSLContext, Path], tmp_path: Path
) -> None:
    url, tokens = server
    (tmp_path / "token").write_text("secret\n")
    engine = HttpsEngine(f"{url}record.json", token_file=str(tmp_path / "token"), ca_file=str(tls[1]))
    asyncio.run(engine.record())
    assert tokens == ["Bearer secret"]
    with served(stick, tls[0]) as (other, seen):
        whole(engine, f"{other}models/v 2".replace(" ", "%20"), "model.onnx")
        assert seen == [""]
