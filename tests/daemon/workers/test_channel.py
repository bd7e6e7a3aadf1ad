"""The worker socket against peers of every kind: whatever one does, the others' lines stay as they are."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import pytest
from tests.support import soon

from modelward.daemon.workers import channel as module
from modelward.daemon.workers.channel import Channel, Credentials, Line, bind
from modelward.worker import protocol as p


@dataclass
class Ears:
    """Keeps what it is told."""

    lines: list[Line] = field(default_factory=list)
    fds: list[int] = field(default_factory=list)
    heard: list[p.FromWorker] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)

    def joined(self, line: Line, hello: p.Hello, fds: list[int]) -> None:
        self.lines.append(line)
        self.fds += fds

    def said(self, line: Line, message: p.FromWorker) -> None:
        if isinstance(message, p.Reopened):
            raise p.Refused("cannot take that now")
        self.heard.append(message)

    def left(self, line: Line, because: str) -> None:
        self.ended.append(because)


class Peer:
    """A program at the other end, as raw as sockets are."""

    all: ClassVar[list[Peer]] = []

    def __init__(self, path: Path) -> None:
        self.all.append(self)
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(path))
        self.socket.setblocking(False)

    def say(self, *messages: p.Message) -> None:
        self.raw(b"".join(p.encode(m) for m in messages))

    def raw(self, data: bytes, fds: tuple[int, ...] = ()) -> None:
        socket.send_fds(self.socket, [data], fds) if fds else self.socket.send(data)

    def read(self) -> bytes | None:
        """What came; b"" once the connection is over, None while there is nothing."""
        try:
            return self.socket.recv(1 << 20)
        except BlockingIOError:
            return None
        except ConnectionResetError:
            return b""

    async def cut_off(self) -> None:
        await soon(lambda: self.read() == b"")

    def close(self) -> None:
        self.socket.close()


@pytest.fixture(autouse=True)
def peers_leave() -> Iterator[None]:
    yield
    for peer in Peer.all:
        peer.close()
    Peer.all.clear()


HELLO = p.Hello(pid=1, name="w1")
Work = Callable[[Channel, Ears, Path], Awaitable[None]]


def run(
    tmp_path: Path, work: Work, *, allowed: Callable[[Credentials], bool] = lambda who: True, hello_seconds: float = 10
) -> None:
    async def whole() -> None:
        ears, path = Ears(), tmp_path / "workers.sock"
        channel = Channel(path, ears, allowed, hello_seconds=hello_seconds)
        channel.open()
        try:
            await work(channel, ears, path)
        finally:
            channel.close()
            for fd in ears.fds:
                os.close(fd)
        assert not path.exists()

    asyncio.run(asyncio.wait_for(whole(), 60))


async def join(ears: Ears, path: Path) -> Peer:
    """A peer that was greeted."""
    peer, before = Peer(path), len(ears.lines)
    peer.say(HELLO)
    await soon(lambda: len(ears.lines) > before)
    return peer


def test_who_says_hello_is_known_by_the_kernels_word_and_heard(tmp_path: Path) -> None:
    async def work(channel: Channel, ears: Ears, path: Path) -> None:
        peer = await join(ears, path)
        assert (ears.lines[0].who.pid, ears.lines[0].who.uid) == (os.getpid(), os.getuid())
        assert set(ears.lines[0].who.groups) == set(os.getgroups())
        for byte in p.encode(p.Beat(requests=1)) + p.encode(p.Beat(requests=2)):
            peer.raw(bytes([byte]))
            await asyncio.sleep(0)
        await soon(lambda: len(ears.heard) == 2)
        ears.lines[0].send(p.Welcome("v1"))
        said: list[bytes | None] = []
        await soon(lambda: said.append(peer.read()) or said[-1])
        assert p.decode_from_daemon((said[-1] or b"").strip()) == p.Welcome("v1")
        peer.close()
        await soon(lambda: ears.ended == ["it is gone"])

    run(tmp_path, work)


@pytest.mark.parametrize(
    ("said", "because"),
    [
        (b"garbage\n", "cannot read a worker's message"),
        (b'{"type": "sing"}\n', "cannot read a worker's message"),
        (b'{"type": "welcome"}\n', "cannot read a worker's message"),
        (b"[[[[" * 10000 + b"\n", "cannot read a worker's message"),
        (b'{"type": "beat", "requests": "many"}\n', "cannot read a worker's message"),
        (b'{"type": "beat", "requests": 1e999}\n', "cannot read a worker's message"),
        (b"\xff\xfe\x00\n", "cannot read a worker's message"),
        (b"x" * (p.MAX_MESSAGE_BYTES + 1), "cannot read a message: longer than 65536 bytes"),
        (p.encode(p.Reopened()), "cannot take that now"),
    ],
)
def test_what_cannot_be_understood_ends_that_connection_alone(tmp_path: Path, said: bytes, because: str) -> None:
    async def work(channel: Channel, ears: Ears, path: Path) -> None:
        good, bad = await join(ears, path), await join(ears, path)
        while said:
            with suppress(BlockingIOError):
                bad.raw(said)
                break
            await asyncio.sleep(0)
        await bad.cut_off()
        assert [b[: len(because)] for b in ears.ended] == [because]
        good.say(p.Beat(requests=7))
        await soon(lambda: ears.heard == [p.Beat(requests=7)])

    run(tmp_path, work)


@pytest.mark.parametrize(
    "first", [p.encode(p.Beat()), p.encode(p.Hello(pid=1, protocol=99)), b"garbage\n", b"\n" * 70000 + b"x\n"]
)
def test_without_a_proper_hello_first_nobody_joins(tmp_path: Path, first: bytes) -> None:
    async def work(channel: Channel, ears: Ears, path: Path) -> None:
        peer = Peer(path)
        peer.raw(first)
        await peer.cut_off()
        assert (ears.lines, ears.heard, ears.ended) == ([], [], [])

    run(tmp_path, work)


def test_who_does_not_say_hello_in_time_is_cut_off_and_who_did_is_not(tmp_path: Path) -> None:
    async def work(channel: Channel, ears: Ears, path: Path) -> None:
        good, mute, slow = await join(ears, path), Peer(path), Peer(path)
        slow.raw(p.encode(HELLO)[:-2])
        await mute.cut_off()
        await slow.cut_off()
        good.say(p.Beat())
        await soon(lambda: ears.heard)
        assert ears.ended == []

    run(tmp_path, work, hello_seconds=0.2)


def test_who_reads_too_slowly_is_cut_off_and_memory_stays_bounded(tmp_path: Path) -> None:
    async def work(channel: Channel, ears: Ears, path: Path) -> None:
        await join(ears, path)
        line, message = ears.lines[0], p.Prepare("r", "v", "x" * 60_000)
        for _ in range(100):
            line.send(message)
            assert len(line.unsent) <= module.MAX_UNSENT_BYTES + p.MAX_MESSAGE_BYTES
        assert ears.ended == ["it reads too slowly"]
        line.send(message)

    run(tmp_path, work)


def test_who_reads_late_gets_all_of_it_in_order(tmp_path: Path) -> None:
    async def work(channel: Channel, ears: Ears, path: Path) -> None:
        peer = await join(ears, path)
        sent = [p.Prepare(f"r{i}", "v", "x" * 50_000) for i in range(15)]
        for message in sent:
            ears.lines[0].send(message)
        assert ears.lines[0].unsent
        got, lines = [], p.Lines()
        while len(got) < len(sent):
            data = peer.read()
            got += [p.decode_from_daemon(line) for line in lines.feed(data)] if data else []
            await asyncio.sleep(0)
        assert got == sent
        await soon(lambda: not ears.lines[0].unsent)

    run(tmp_path, work)


def test_who_floods_is_cut_off(tmp_path: Path) -> None:
    async def work(channel: Channel, ears: Ears, path: Path) -> None:
        good, flood = await join(ears, path), await join(ears, path)
        beats = p.encode(p.Beat()) * 200
        with suppress(OSError):
            for _ in range(1000):
                with suppress(BlockingIOError):
                    flood.raw(beats)
                await asyncio.sleep(0)
        await flood.cut_off()
        assert ears.ended == ["cannot listen to more than 1000 messages in 10 s"]
        assert len(ears.heard) < 1000
        good.say(p.Beat(requests=5))
        await soon(lambda: ears.heard[-1] == p.Beat(requests=5))

    run(tmp_path, work)


# descriptors


def test_a_socket_handed_over_with_the_hello_arrives_and_goes_to_no_child(tmp_path: Path) -> None:
    async def work(channel: Channel, ears: Ears, path: Path) -> None:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            peer = Peer(path)
            peer.raw(p.encode(HELLO), (listener.fileno(),))
            await soon(lambda: ears.fds)
            assert not os.get_inheritable(ears.fds[0])
            with socket.socket(fileno=os.dup(ears.fds[0])) as arrived:
                assert arrived.getsockname() == listener.getsockname()

    run(tmp_path, work)


@pytest.mark.parametrize("ending", ["hello", "silence", "garbage"])
def test_descriptors_nobody_asked_for_are_closed_and_nothing_else_is(tmp_path: Path, ending: str) -> None:
    async def work(channel: Channel, ears: Ears, path: Path) -> None:
        good = await join(ears, path)
        before = len(os.listdir("/proc/self/fd"))
        peer = Peer(path)
        with open("/dev/null") as f:
            first = p.encode(HELLO)
            for byte in first[:12]:  # over and over before the hello, eight at a time
                peer.raw(bytes([byte]), (f.fileno(),) * 8)
                await asyncio.sleep(0.002)
            if ending == "hello":
                peer.raw(first[12:], (f.fileno(),) * 8)
                await soon(lambda: len(ears.lines) == 2)
                peer.raw(p.encode(p.Beat()), (f.fileno(),) * 8)
                await soon(lambda: ears.heard)
                assert len(ears.fds) == 1
            elif ending == "garbage":
                peer.raw(b"\n", (f.fileno(),))
                await peer.cut_off()
        peer.close()
        await soon(lambda: len(os.listdir("/proc/self/fd")) == before + len(ears.fds))
        good.say(p.Beat(requests=3))
        await soon(lambda: ears.heard and ears.heard[-1] == p.Beat(requests=3))

    run(tmp_path, work)


# who may come


def test_another_user_is_turned_away_by_the_file_and_again_by_the_kernels_word(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root to be another user")
    code = """
import os, socket, sys
os.setgroups([4242]); os.setgid(54321); os.setuid(54321)
s = socket.socket(socket.AF_UNIX)
try:
    s.connect(sys.argv[1])
    s.send(b'{"type": "hello", "pid": 1}\\n')
    print(s.recv(100))
except OSError as e:
    print(e.strerror)
"""

    async def connect(path: Path) -> str:
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-I", "-S", "-c", code, str(path)],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        return done.stdout.strip()

    asked: list[Credentials] = []

    async def work(channel: Channel, ears: Ears, path: Path) -> None:
        for directory in (tmp_path, *tmp_path.parents):
            if directory.stat().st_uid == os.geteuid() and directory != Path("/"):
                with suppress(PermissionError):
                    directory.chmod(directory.stat().st_mode | 0o011)
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        assert await connect(path) == "Permission denied"
        assert asked == []
        path.chmod(0o666)  # somebody loosened it
        assert await connect(path) in ("b''", "Connection reset by peer", "Broken pipe")
        assert [(who.uid, who.gid, who.groups) for who in asked] == [(54321, 54321, (4242,))]
        assert ears.lines == []

    def refuse(who: Credentials) -> bool:
        asked.append(who)
        return False

    run(tmp_path, work, allowed=refuse)


def test_other_users_can_not_take_all_places(tmp_path: Path) -> None:
    stranger = Credentials(1, 54321, 54321)
    assert stranger.stranger
    assert not Credentials(1, os.geteuid(), 54321).stranger
    assert not Credentials(1, 0, 54321).stranger
    assert module.MAX_STRANGERS < module.MAX_CONNECTIONS


def test_beyond_the_most_connections_newcomers_wait_for_a_place_and_nobody_leaves(tmp_path: Path) -> None:
    async def work(channel: Channel, ears: Ears, path: Path) -> None:
        peers = [await join(ears, path) for _ in range(module.MAX_CONNECTIONS)]
        for _ in range(3):
            late = Peer(path)
            await late.cut_off()
        assert ears.ended == []
        peers[7].close()
        await soon(lambda: ears.ended)
        await join(ears, path)
        for peer in peers[:7] + peers[8:]:
            peer.close()

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 2048)), hard))
    try:
        run(tmp_path, work)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_without_descriptors_it_waits_quietly_and_goes_on_later(tmp_path: Path) -> None:
    async def work(channel: Channel, ears: Ears, path: Path) -> None:
        good = await join(ears, path)
        late = Peer(path)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        gaps = [os.open("/dev/null", os.O_RDONLY)]
        while gaps[-1] < max(map(int, os.listdir("/proc/self/fd"))) - 1:
            gaps.append(os.open("/dev/null", os.O_RDONLY))
        resource.setrlimit(resource.RLIMIT_NOFILE, (gaps[-1] + 1, hard))
        try:
            late.say(HELLO)
            used = time.process_time()
            await asyncio.sleep(0.5)
            used = time.process_time() - used
            good.say(p.Beat())
            await soon(lambda: ears.heard)
            assert len(ears.lines) == 1
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for fd in gaps:
                os.close(fd)
        assert used < 0.25, "it span"
        await soon(lambda: len(ears.lines) == 2)

    run(tmp_path, work)


# the socket's file


@pytest.mark.parametrize("damage", ["removed", "directory removed", "replaced by a file", "replaced by a socket"])
def test_a_socket_file_that_was_taken_away_is_made_again_and_no_line_is_lost(tmp_path: Path, damage: str) -> None:
    async def work(channel: Channel, ears: Ears, path: Path) -> None:
        good = await join(ears, path)
        assert not channel.heal()
        path.unlink()
        other = None
        if damage == "directory removed":
            path.parent.rmdir()
        elif damage == "replaced by a file":
            path.touch()
        elif damage == "replaced by a socket":
            other = bind(path)
        assert channel.heal()
        assert not channel.heal()
        await join(ears, path)
        good.say(p.Beat())
        await soon(lambda: ears.heard)
        assert ears.ended == []
        if other is not None:
            other.close()

    (tmp_path / "run").mkdir()
    run(tmp_path / "run", work)


def test_a_socket_that_can_not_be_made_again_is_tried_at_the_next_look(tmp_path: Path) -> None:
    async def work(channel: Channel, ears: Ears, path: Path) -> None:
        path.unlink()
        path.parent.rmdir()
        path.parent.touch()
        for _ in range(3):
            with pytest.raises(OSError, match="exists|directory"):
                channel.heal()
        path.parent.unlink()
        assert channel.heal()
        await join(ears, path)

    (tmp_path / "run").mkdir()
    run(tmp_path / "run", work)


def test_what_a_dead_daemon_left_is_replaced_and_the_mode_holds_under_any_umask(tmp_path: Path) -> None:
    path = tmp_path / "workers.sock"
    bind(path).close()
    mask = os.umask(0o077)
    try:
        with bind(path):
            assert stat.S_IMODE(path.stat().st_mode) == 0o660
        with bind(path, 0o600):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
    finally:
        os.umask(mask)
    with pytest.raises(OSError, match="AF_UNIX path too long"):
        bind(tmp_path / ("x" * 120))


def test_closing_takes_away_its_own_file_only(tmp_path: Path) -> None:
    async def work() -> None:
        path = tmp_path / "workers.sock"
        channel = Channel(path, Ears(), lambda who: True)
        channel.open()
        peer = Peer(path)
        path.unlink()
        successor = bind(path)
        channel.close()
        channel.close()
        assert path.exists()
        await peer.cut_off()
        successor.close()

    asyncio.run(work())
