"""The worker socket, both ends: a hostile worker before the daemon, a hostile daemon before a worker and a program."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import tempfile
import threading
from pathlib import Path
from typing import Any, cast

import structlog
from hypothesis import example, given
from hypothesis import strategies as st
from tests.daemon.health.measuring import collect
from tests.fuzz.strategies import (
    ODD_TEXTS,
    altered,
    bytes_like,
    deep,
    fuzzed,
    lines_of,
    twisted,
)
from tests.support import PATIENCE_SECONDS, soon

from modelward.daemon.answers.encode import encoded
from modelward.daemon.health.metrics import METRICS
from modelward.daemon.health.sampler import Sampler, WorkerSeen
from modelward.daemon.status import views
from modelward.daemon.status.snapshot import WorkersSeen
from modelward.daemon.system.clock import SystemClock
from modelward.daemon.workers.channel import WorkersSocket
from modelward.daemon.workers.registry import WelcomeState, WorkerRegistry
from modelward.worker import protocol as p
from modelward.worker.attach import attach
from modelward.worker.child_protocol import decode_from_validator
from modelward.worker.daemon_link import DaemonLink
from modelward.worker.inference.engine import Engine
from modelward.worker.inference.loader import LoadedVersion
from modelward.worker.settings import Terms
from modelward.worker.shared.prometheus_text import Exposition
from modelward.worker.stats import Counters

FROM_WORKER = (
    {"type": "hello", "protocol": 1, "pid": 7, "name": "webui", "attached": True, "serving": "v1", "artifact": "/a"},
    {"type": "prepared", "rollout": "r1", "version": "v2", "seconds": 1.5},
    {"type": "refused", "rollout": "r1", "version": "v2", "reason": "bad graph"},
    {"type": "serving", "rollout": "", "version": "v1"},
    {"type": "beat", "inflight": 1, "requests": 10, "errors": 1, "p95_seconds": 0.2, "rss_bytes": 100_000_000},
    {"type": "applied", "terms": {"queue": 3, "token_file": "/t", "drain_seconds": 1.5}},
    {"type": "reopened"},
    {"type": "drained"},
)
FROM_DAEMON = (
    {"type": "welcome", "version": "v1", "artifact": "/a/v1", "beat_seconds": 0.2},
    {"type": "prepare", "rollout": "r1", "version": "v2", "artifact": "/a/v2", "unload_first": False},
    {"type": "commit", "rollout": "r1"},
    {"type": "abort", "rollout": "r1"},
    {"type": "settings", "terms": {"queue": 3, "token_file": "/t", "drain_seconds": 1.5}, "tokens": ["0a"]},
    {"type": "reopen_logs"},
    {"type": "drain"},
    {"type": "stop"},
)
FROM_VALIDATOR = (
    {"type": "gate_started", "gate": "load"},
    {"type": "gate_done", "gate": "load", "passed": True, "seconds": 0.5, "because": "fine", "warning": False},
    {"type": "judged", "accepted": True, "digest": "d", "artifact": "/a", "bytes": 9},
)


def frames(*examples: Any) -> st.SearchStrategy[bytes]:
    """One line, newline not included."""
    return st.one_of(
        twisted(*examples).map(lambda message: json.dumps(message).encode()),
        altered(*lines_of(*examples)),
        bytes_like(*lines_of(*examples)),
        st.sampled_from((deep(30_000), deep(10_000, '{"type":', "}"), b"x" * (p.MAX_MESSAGE_BYTES + 1), b"", b"\0")),
    )


def streams(*examples: Any) -> st.SearchStrategy[list[bytes]]:
    """Lines one after the other, cut where no line ends."""
    whole = st.lists(st.one_of(frames(*examples), st.sampled_from(lines_of(*examples))), min_size=1, max_size=6)
    return st.tuples(whole, st.lists(st.integers(1, 200), max_size=5)).map(_torn)


def said(*messages: Any) -> list[bytes]:
    """Whole messages, each by itself."""
    return [line + b"\n" for line in lines_of(*messages)]


def _torn(made: tuple[list[bytes], list[int]]) -> list[bytes]:
    data, pieces = b"".join(line + b"\n" for line in made[0]), []
    for size in made[1]:
        pieces.append(data[:size])
        data = data[size:]
    return [piece for piece in (*pieces, data) if piece]


@fuzzed(250)
@given(frames(*FROM_WORKER, *FROM_DAEMON, *FROM_VALIDATOR))
@example(b'{"type":"beat","requests":' + b"9" * 5000 + b"}")
@example(b'{"type":"beat","requests":' + b"9" * 400 + b"}")
@example(b'{"type":"beat","p95_seconds":1e999}')
@example(b'{"type":"applied","terms":{"max_audio_seconds":1e999,"queue":99999999999999999999}}')
@example(b'{"type":"hello","pid":1,"name":"\\ud800"}')
@example(b'{"type":"hello","pid":1,"x":' + deep(20_000) + b"}")
def test_a_line_is_a_message_or_refused(line: bytes) -> None:
    for decode in (p.decode_from_worker, p.decode_from_daemon, decode_from_validator):
        try:
            message = decode(line)
        except p.BadMessage as e:
            assert str(e)
            continue
        again = decode(p.encode(message)) if len(line) < p.MAX_MESSAGE_BYTES // 8 else message
        assert again == message
        if isinstance(message, p.Beat):
            assert 0 <= message.inflight <= 2**53 and 0 <= message.requests <= 2**53
            assert 0 <= message.p95_seconds < 1e10 and 0 <= message.rss_bytes < 2**63


@fuzzed(150)
@given(st.lists(st.binary(max_size=60), max_size=20))
def test_lines_are_cut_the_same_however_they_come(pieces: list[bytes]) -> None:
    lines, found = p.Lines(), []
    for piece in pieces:
        found += lines.feed(piece)
    assert found == [line for line in b"".join(pieces).split(b"\n")[:-1] if line.strip()]


ODD_NAMES = ODD_TEXTS.map(lambda text: text[:255])  # the most that a version's name may have


@fuzzed(80)
@given(
    st.builds(p.Prepare, ODD_TEXTS, ODD_NAMES, ODD_TEXTS), st.builds(p.CannotPrepare, ODD_TEXTS, ODD_NAMES, ODD_TEXTS)
)
@example(p.Prepare("r", "v", "\ud800"), p.CannotPrepare("r", "v", "cannot read \udcff"))
def test_what_is_said_is_one_readable_line(prepare: p.Prepare, refused: p.CannotPrepare) -> None:
    for message, decode in ((prepare, p.decode_from_daemon), (refused, p.decode_from_worker)):
        try:
            line = p.encode(message)
        except p.BadMessage:
            continue
        assert line.count(b"\n") == 1 and type(decode(line)) is type(message)


class Ears:
    """The daemon's end with what it tells of its workers."""

    def __init__(self, path: Path) -> None:
        self.offered: list[int] = []
        self.registry = WorkerRegistry(
            clock=SystemClock(),
            welcome=lambda: WelcomeState("v1", "/a/v1"),
            happened=lambda event: None,
            offered=self.offered.append,
        )
        self.channel = WorkersSocket(path, self.registry, lambda who: True)
        self.monitor = Sampler(SystemClock(), 10)

    def tell(self) -> str:
        """Everything that is made of the workers' words."""
        peers = self.registry.peers()
        encoded(views.workers(WorkersSeen(tuple(peers))))
        out = Exposition(METRICS)
        for peer in peers:
            out.add("modelward_worker_requests_total", peer.beat.requests, worker=peer.name)
            out.add("modelward_worker_resident_memory_bytes", peer.beat.rss_bytes, worker=peer.name)
            out.add("modelward_worker_request_duration_p95_seconds", peer.beat.p95_seconds, worker=peer.name)
            peer.figures()
        seen = [
            WorkerSeen(
                q.name,
                0,
                q.beat.requests,
                q.beat.errors,
                q.beat.inflight,
                q.beat.p95_seconds,
                q.beat.rss_bytes,
                q.ready,
            )
            for q in peers
        ]
        collect(self.monitor, 10, (), seen)
        encoded(self.monitor.series.answer("1h"))
        return out.text()


@fuzzed(60)
@given(streams(*FROM_WORKER), st.booleans())
@example(said(FROM_WORKER[0], {"type": "beat", "requests": 10**400}), False)
@example(said(FROM_WORKER[0], {"type": "beat", "rss_bytes": 2**64 - 1}), False)
@example(said({"type": "beat", "inflight": -1, "p95_seconds": 1e300}), True)
@example(said({"type": "hello", "pid": 1, "name": "w" + "9" * 5000}), False)
def test_a_hostile_worker_harms_nobody_else(pieces: list[bytes], greeted: bool) -> None:
    async def whole() -> None:
        with tempfile.TemporaryDirectory() as directory:
            ears = Ears(Path(directory) / "workers.sock")
            await ears.channel.open()
            try:
                good, bad = await _peer(directory), await _peer(directory)
                await _say(good, *lines_of(FROM_WORKER[0]))
                await soon(lambda: ears.registry.peers())
                if greeted:
                    await _say(bad, *lines_of(FROM_WORKER[0]))
                for piece in pieces:
                    try:
                        bad.send(piece)
                    except (BlockingIOError, BrokenPipeError, ConnectionResetError):
                        break
                    await asyncio.sleep(0)
                await _say(good, *lines_of(FROM_WORKER[4]))
                await soon(lambda: ears.registry.peer("webui") and ears.registry.peer("webui").beat.requests == 10)  # type: ignore[union-attr]
                ears.tell()
                good.close()
                bad.close()
                await soon(lambda: not ears.registry.peers())
            finally:
                await ears.channel.close()
                for fd in ears.offered:
                    os.close(fd)

    asyncio.run(whole())


async def _peer(directory: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(f"{directory}/workers.sock")
    sock.setblocking(False)
    await asyncio.sleep(0)
    return sock


async def _say(sock: socket.socket, *lines: bytes) -> None:
    await asyncio.get_running_loop().sock_sendall(sock, b"".join(line + b"\n" for line in lines))


class Model:
    def warm(self) -> None: ...


@fuzzed(40)
@given(streams(*FROM_DAEMON))
@example([b'{"type":"prepare","rollout":"' + b"r" * 60_000 + b'","version":"v","artifact":"/refuse"}\n'])
def test_a_worker_serves_on_whatever_the_daemon_says(pieces: list[bytes]) -> None:
    unhandled: list[Any] = []

    async def whole() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: unhandled.append(context))
        with tempfile.TemporaryDirectory() as directory:
            path = f"{directory}/workers.sock"
            joined: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()
            server = await asyncio.start_unix_server(lambda reader, writer: joined.put_nowait(writer), path)
            engine = Engine(_load, gentle=False)
            control = DaemonLink(
                path,
                name="w1",
                engine=engine,
                counters=Counters(),
                log=structlog.get_logger(),
                listener=lambda: None,
                terms=Terms,
                apply=lambda terms, tokens: None,
                reopen=lambda done: done(),
                drain=lambda notice: None,
                stop=lambda: None,
            )
            running = asyncio.create_task(control.run())
            try:
                writer = await joined.get()
                for piece in pieces:
                    writer.write(piece)
                    await asyncio.sleep(0)
                writer.write(b'\n{"type":"welcome","version":"good","artifact":"/good"}\n')
                await asyncio.sleep(0.005)
                if control._writer is None or engine.current is None:  # cut off for what it said: it joins anew
                    writer.close()
                    writer = await asyncio.wait_for(joined.get(), PATIENCE_SECONDS)
                    writer.write(b'{"type":"welcome","version":"good","artifact":"/good"}\n')
                await soon(lambda: engine.current is not None)
                assert not running.done()
                writer.close()
            finally:
                running.cancel()
                await asyncio.wait({running})
                server.close()

    asyncio.run(whole())
    assert not unhandled, unhandled


def _load(version: str, artifact: str) -> LoadedVersion:
    if "refuse" in artifact:
        raise ValueError("cannot load \udcff")
    return LoadedVersion(version, "d", artifact, cast(Any, Model()))


@fuzzed(15)
@given(streams(*FROM_DAEMON))
@example([b"[]\n"])
@example([b'{"type":"prepare"}\n'])
@example([b'{"type":"welcome","beat_seconds":[]}\n'])
@example([b'{"type":"welcome","version":[1],"artifact":{}}\n'])
@example([b'{"type":"welcome","beat_seconds":' + b"9" * 400 + b"}\n"])
@example([deep(30_000) + b"\n"])
def test_an_attached_program_joins_anew_whatever_the_daemon_says(pieces: list[bytes]) -> None:
    with tempfile.TemporaryDirectory() as directory, socket.socket(socket.AF_UNIX) as listener:
        path = f"{directory}/workers.sock"
        listener.bind(path)
        listener.listen()
        listener.settimeout(PATIENCE_SECONDS)
        broken: list[Any] = []
        before, threading.excepthook = threading.excepthook, broken.append
        attachment = attach(lambda artifact, version: (artifact, version), name="webui", socket=path)
        try:
            with listener.accept()[0] as connection:
                connection.settimeout(PATIENCE_SECONDS)
                for piece in (*pieces, b'\n{"type":"drain"}\n'):
                    try:
                        connection.sendall(piece)
                    except OSError:
                        break
                connection.shutdown(socket.SHUT_WR)
                try:
                    while connection.recv(65536):
                        pass
                except ConnectionResetError:
                    pass
            with listener.accept()[0] as again:  # it came back
                again.settimeout(PATIENCE_SECONDS)
                assert b'"hello"' in again.recv(65536)
        finally:
            attachment.close()
            threading.excepthook = before
        assert not broken, broken
