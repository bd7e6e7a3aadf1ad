"""What carries a fleet, when it means harm: a NATS server, a web server, an engine with files that nobody signed."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.daemon.fleet.records import record
from tests.fakes.certificates import server_context
from tests.fuzz.nats_server import Answer, HostileNats
from tests.fuzz.strategies import altered_text, bytes_like, deep, fuzzed, twisted
from tests.support import PATIENCE_SECONDS

from modelward.daemon.fleet.agent_planner import FetchedPart
from modelward.daemon.fleet.engine import EngineAway, KeptProgress, LeaseTaken, NotOffered
from modelward.daemon.fleet.fetching import Fetching, WrongBytes
from modelward.daemon.fleet.file_engine import FileEngine
from modelward.daemon.fleet.https_engine import HttpsEngine
from modelward.daemon.fleet.manifest import SIGNATURE
from modelward.daemon.fleet.nats_connection import MAX_MESSAGE_BYTES, NatsAccess
from modelward.daemon.fleet.nats_engine import NatsEngine
from modelward.daemon.fleet.nats_names import FLEET, LEASE, MODELS, RECORD, REPORTS
from modelward.daemon.fleet.part_area import FLEET_PART, MAX_NOTE_BYTES, PartArea
from modelward.daemon.fleet.record import BadRecord, decode, encode
from modelward.daemon.fleet.reports import MachineReport, ReceivedReport, encode_report
from modelward.daemon.fleet.waves import WaveProgress
from modelward.daemon.system.clock import SystemClock
from modelward.daemon.upkeep.syscalls import rename_noreplace
from modelward.worker.shared.checksums import SUMS
from modelward.worker.shared.sha256sums import written_sums


def stored(stream: str, subject: str, data: bytes, *, sequence: int = 1, at: str = "2026-12-01T06:00:00.5Z") -> Answer:
    """What a server answers about a message of a stream."""
    lines = (
        f"Nats-Stream: {stream}",
        f"Nats-Subject: {subject}",
        f"Nats-Sequence: {sequence}",
        f"Nats-Time-Stamp: {at}",
    )
    return ("\r\n".join(("NATS/1.0", *lines, "", ""))).encode(), data


KV = f"KV_{FLEET}"
META = {"bucket": MODELS, "name": "v2/a", "nuid": "N", "size": 6, "chunks": 2, "options": {"max_chunk_size": 3}}
CHUNKS = f"$O.{MODELS}.C.N"
SUBJECTS = {"state": {"subjects": {f"$KV.{REPORTS}.shop-1": 1}}, "total": 1}
NONE: Answer = (b"NATS/1.0 404 Message Not Found\r\n\r\n", b"")
GOOD: tuple[Answer, ...] = (
    stored(KV, RECORD, b"the record"),
    stored(KV, LEASE, b'{"holder":"keeper-1"}'),
    stored(KV, "progress", msgspec.json.encode(WaveProgress(7, 1)), sequence=9),
    stored(f"KV_{REPORTS}", f"$KV.{REPORTS}.shop-1", encode_report(MachineReport("shop-1"))),
    stored(f"OBJ_{MODELS}", "meta", json.dumps(META).encode()),
    stored(f"OBJ_{MODELS}", CHUNKS, b"abc"),
    stored(f"OBJ_{MODELS}", CHUNKS, b"def", sequence=2),
    (b"", json.dumps(SUBJECTS).encode()),
    (b"", b'{"stream":"s","seq":5}'),
    (b"", b'{"error":{"code":400,"err_code":10071,"description":"wrong last sequence"}}'),
    (b"", b'{"error":{"code":404,"description":"stream not found"}}'),
    NONE,
)
_DATA = st.one_of(
    twisted(
        META, SUBJECTS, {"error": {"code": 404, "description": "x"}}, {"holder": "a"}, {"sequence": 7, "open": 1}
    ).map(lambda value: json.dumps(value).encode()),
    st.sampled_from((deep(20_000), b'{"total":' + b"9" * 4000 + b"}", b"\xff", b"", b"[]", b'"x"')),
)
_ANSWERS = st.one_of(
    st.sampled_from(GOOD),
    st.tuples(st.sampled_from([head for head, _ in GOOD]), _DATA),
    st.builds(
        lambda subject, sequence, at: stored(KV, subject, b"x", sequence=sequence, at=at),
        st.sampled_from((RECORD, LEASE, "", "x" * 300)),
        st.sampled_from((0, -1, 2**64, 10**400)),
        altered_text("2026-12-01T06:00:00.123456789Z", "2026-12-01T06:00:00Z").filter(
            lambda text: text.isascii() and text.isprintable()
        ),
    ),
)
_OBJECT = [stored(f"OBJ_{MODELS}", "m", json.dumps(META | {"chunks": 1, "size": 3}).encode()), *[GOOD[5]] * 3]


async def _asked(engine: NatsEngine, what: str) -> Any:
    if what == "record":
        found = await engine.record()
        assert isinstance(found, bytes)
    elif what == "records":
        assert len(await engine.records()) <= 100
    elif what == "progress":
        assert isinstance(await engine.kept_progress(), KeptProgress)
    elif what == "keep":
        assert await engine.keep_progress(WaveProgress(7, 2), 1) in (True, False)
    elif what == "lease":
        taken = await engine.lease("keeper-1", 150)
        assert taken is None or (isinstance(taken, LeaseTaken) and abs(taken.at) < 1e12)
    elif what == "reports":
        assert all(isinstance(each, ReceivedReport) and abs(each.at) < 1e12 for each in await engine.reports())
    else:
        async with aclosing(engine.file(f"object:{MODELS}/v2", "a", 2)) as chunks:  # type: ignore[type-var]
            async for data in chunks:
                assert isinstance(data, bytes) and len(data) <= MAX_MESSAGE_BYTES


@fuzzed(60)
@given(
    st.sampled_from(("record", "records", "progress", "keep", "lease", "reports", "file")),
    st.lists(_ANSWERS, min_size=1, max_size=5),
)
@example("lease", [stored(KV, LEASE, b'{"holder":"keeper-1"}', at="2026-12-01T06:00:00.1e999Z")])
@example("lease", [stored(KV, LEASE, b'{"holder":"keeper-1"}', sequence=10**400)])
@example("keep", [(b"", b'{"error":"no"}')])
@example("reports", [(b"", b'{"error":"no"}')])
@example("reports", [(b"", b'{"state":[]}')])
@example("reports", [(b"", b'{"state":{"subjects":{"x":1}},"total":"many"}')])
@example("reports", [(b"", b'{"state":{"subjects":5}}')])
@example("reports", [(b"", b'{"state":{"subjects":["a b\\r\\nPUB c 0"]},"total":1}'), NONE])
@example("file", _OBJECT)
@example("file", [stored(f"OBJ_{MODELS}", "m", json.dumps(META | {"nuid": "a b\r\nPUB c 0"}).encode()), NONE])
@example("file", [stored(f"OBJ_{MODELS}", "m", json.dumps(META | {"size": -5}).encode()), *GOOD[5:7]])
@example("file", [stored(f"OBJ_{MODELS}", "m", json.dumps(META | {"chunks": 0, "size": 0}).encode()), *GOOD[5:7]])
def test_a_servers_answer_is_used_or_the_engine_is_away(what: str, answers: list[Answer]) -> None:
    async def whole() -> None:
        server = HostileNats(answers)
        engine = NatsEngine(NatsAccess((await server.start(),), "keeper-1"), SystemClock())
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await _asked(engine, what)
        except EngineAway as e:
            assert str(e) and len(str(e)) < 1000 and "\n" not in str(e)
        finally:
            await engine.close()
            await server.stop()

    asyncio.run(whole())


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostileSite]:
    with HostileSite(tmp_path_factory.mktemp("site")) as running:
        yield running


class HostileSite:
    """An https server that answers each request with the same bytes and closes."""

    def __init__(self, directory: Path) -> None:
        self._context, self.authority = server_context(directory)
        self.answer = b""
        self.asked: list[bytes] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self) -> HostileSite:
        self._thread.start()
        starting = asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._context)
        self._server = asyncio.run_coroutine_threadsafe(starting, self._loop).result(PATIENCE_SECONDS)
        self.url = f"https://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/fleet/record"
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._server.close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            self.asked.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(self.answer)
            await writer.drain()
        writer.close()


PAGES = (
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 2-4/5\r\nContent-Length: 3\r\n\r\nllo",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    b"HTTP/1.1 416 Range Not Satisfiable\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 301 Moved\r\nLocation: https://elsewhere.example/\r\nContent-Length: 0\r\n\r\n",
)


@fuzzed(20)
@given(st.one_of(bytes_like(*PAGES, head=120), st.sampled_from(PAGES)), st.sampled_from((0, 2, 9)))
@example(PAGES[1], 3)
@example(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello", 0)
@example(b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 70_000 + b"\r\n\r\n", 0)
def test_a_web_servers_answer_is_the_rest_of_a_file_or_the_engine_is_away(
    site: HostileSite, answer: bytes, offset: int
) -> None:
    async def whole() -> bytes:
        engine = HttpsEngine(site.url, ca_file=str(site.authority))
        found = b""
        async with aclosing(engine.file("v2", "a", offset)) as chunks:  # type: ignore[type-var]
            async for data in chunks:
                found += data
        return found

    site.answer = answer
    try:
        found = asyncio.run(whole())
    except EngineAway as e:
        assert str(e) and len(str(e)) < 1000
        return
    status = answer.split()[1]
    assert found == b"" if status == b"416" else found in answer
    if answer in PAGES and status == b"200":
        assert found == b"hello"[offset:]


@pytest.mark.parametrize("directory", ["模型/v2", "a b", "a%20b", "v2+1", "ä"])
def test_an_address_that_a_record_may_name_is_requested(site: HostileSite, directory: str) -> None:
    source = site.url.removesuffix("/fleet/record") + f"/{directory}"
    try:
        wanted = decode(encode(record(sources=(source,))))
    except BadRecord:
        return
    site.answer = PAGES[0]

    async def whole() -> bytes:
        engine = HttpsEngine(site.url, ca_file=str(site.authority))
        return b"".join([data async for data in engine.file(wanted.sources[0], "a", 0)])

    assert asyncio.run(whole()) == b"hello"
    target = site.asked[-1].split()[1]
    assert unquote(target.decode()) == unquote(f"/{directory}/a")


FILES = {"model.onnx": b"m" * 50, "a/tokens.txt": b"t" * 20}


def _promised(files: dict[str, bytes]) -> dict[str, bytes]:
    return {**files, SUMS: written_sums({name: hashlib.sha256(data).hexdigest() for name, data in files.items()})}


class Scripted:
    """An engine whose files are what a test says, each in its pieces."""

    def __init__(self, files: dict[str, list[bytes]]) -> None:
        self._files = files

    async def record(self) -> bytes:
        return b""

    async def file(self, source: str, name: str, offset: int) -> AsyncIterator[bytes]:
        if name not in self._files:
            raise NotOffered(name)
        left = offset
        for piece in self._files[name]:
            if left < len(piece):
                yield piece[left:]
            left = max(0, left - len(piece))

    async def close(self) -> None: ...


_PIECES = st.lists(st.binary(max_size=30), max_size=4)


@fuzzed(60)
@given(
    st.dictionaries(st.sampled_from((*FILES, SUMS, SIGNATURE, "other")), _PIECES, max_size=4),
    st.sampled_from((FILES, {"a": b"x", "a/b": b"y"}, {"a\0b": b"x"}, {"n" * 300: b"x"}, {"../x": b"y"})),
    st.integers(0, 40),
    st.booleans(),
)
@example({SIGNATURE: [b"s" * 16_384]}, FILES, 0, True)
@example({SUMS: [b"s" * 30]}, FILES, 0, True)
def test_what_an_engine_sends_is_the_signed_version_or_is_not_put_in(
    wrong: dict[str, list[bytes]], files: dict[str, bytes], cut: int, right_list: bool
) -> None:
    promised = _promised(files)
    offered = {name: [data[:cut], data[cut:]] for name, data in promised.items()} | wrong
    if right_list:
        offered[SUMS] = [promised[SUMS]]
    total = sum(map(len, promised.values()))
    wanted = record(manifest_sha256=hashlib.sha256(promised[SUMS]).hexdigest(), bytes=total)
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory, "root")
        root.mkdir()
        area = PartArea(root, rename_noreplace)
        fetching = Fetching(Scripted(offered), area, wanted, SystemClock(), max_rate=0, require_room=lambda count: None)
        with suppress(EngineAway, WrongBytes, OSError):
            asyncio.run(fetching.run())
            if area.verify(wanted.bytes, lambda: False).verified:
                area.rename_in("v2")
        assert os.listdir(directory) == ["root"] and set(os.listdir(root)) <= {FLEET_PART, "v2"}
        there = {str(path.relative_to(root)): path for path in root.rglob("*") if path.is_file()}
        assert sum(path.stat().st_size for name, path in there.items() if not name.endswith("note.json")) <= total
        if (root / "v2").is_dir():
            kept = {name.removeprefix("v2/"): path.read_bytes() for name, path in there.items()}
            kept.pop(SIGNATURE, None)
            assert kept == promised


NOTE = msgspec.json.encode(FetchedPart("ab" * 32, 5, True, False, 1))


@fuzzed(30)
@given(
    st.one_of(
        bytes_like(NOTE),
        twisted(msgspec.json.decode(NOTE)).map(lambda value: json.dumps(value).encode()),
        st.just(b'{"x":' + b"[" * (MAX_NOTE_BYTES - 100) + b"]}"),
    )
)
@example(b'{"x":' + deep(1900) + b',"manifest_sha256":"a"}')
@example(b"\xff")
def test_a_note_of_what_was_fetched_is_read_or_everything_begins_anew(note: bytes) -> None:
    with tempfile.TemporaryDirectory() as directory:
        area = PartArea(Path(directory), rename_noreplace)
        area.begin("ab" * 32, 7)
        Path(directory, FLEET_PART, "note.json").write_bytes(note)
        found = area.seen()
        assert found is None or found.bytes == 0
        assert area.begin("ab" * 32, 7).manifest_sha256 == "ab" * 32


@fuzzed(60)
@given(
    st.one_of(altered_text("v2", "a/b", "../x", "/etc"), st.just("x" * 5000)),
    altered_text("model.onnx", "../../etc/passwd", "a\0b"),
)
def test_a_directory_gives_out_only_what_lies_in_it(source: str, name: str) -> None:
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory, "site")
        (place / "v2").mkdir(parents=True)
        (place / "v2" / "model.onnx").write_bytes(b"right")
        Path(directory, "secret").write_bytes(b"secret")
        (place / "v2" / "x").symlink_to("../../secret")

        async def whole() -> bytes:
            return b"".join([data async for data in FileEngine(place / "record.json").file(source, name, 0)])

        try:
            assert asyncio.run(whole()) in (b"right", b"")
        except EngineAway as e:
            assert str(e)
