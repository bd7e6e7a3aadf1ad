"""The worker socket against peers of every kind: whatever one does, the others' lines stay as they are."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from pathlib import Path

import pytest
from tests.daemon.workers.peers import (
    HELLO,
    Ears,
    Peer,
    join,
    peers_leave,
    run,
)
from tests.support import soon

from modelward.daemon.workers import channel as module
from modelward.daemon.workers.channel import WorkersSocket
from modelward.worker import protocol as p

__all__ = ["peers_leave"]


def test_who_says_hello_is_known_by_the_kernels_word_and_heard(tmp_path: Path) -> None:
    async def work(channel: WorkersSocket, ears: Ears, path: Path) -> None:
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
        (p.encode(p.Serving("", "v" * 256)), "cannot read a worker's message"),
        (p.encode(p.Reopened()), "cannot take that now"),
    ],
)
def test_what_cannot_be_understood_ends_that_connection_alone(tmp_path: Path, said: bytes, because: str) -> None:
    async def work(channel: WorkersSocket, ears: Ears, path: Path) -> None:
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
    "first",
    [
        p.encode(p.Beat()),
        p.encode(p.Hello(pid=1, protocol=99)),
        p.encode(p.Hello(pid=1, serving="v" * 256)),
        b"garbage\n",
        b"\n" * 70000 + b"x\n",
    ],
)
def test_without_a_proper_hello_first_nobody_joins(tmp_path: Path, first: bytes) -> None:
    async def work(channel: WorkersSocket, ears: Ears, path: Path) -> None:
        peer = Peer(path)
        peer.raw(first)
        await peer.cut_off()
        assert (ears.lines, ears.heard, ears.ended) == ([], [], [])

    run(tmp_path, work)


def test_who_does_not_say_hello_in_time_is_cut_off_and_who_did_is_not(tmp_path: Path) -> None:
    async def work(channel: WorkersSocket, ears: Ears, path: Path) -> None:
        good, mute, slow = await join(ears, path), Peer(path), Peer(path)
        slow.raw(p.encode(HELLO)[:-2])
        await mute.cut_off()
        await slow.cut_off()
        good.say(p.Beat())
        await soon(lambda: ears.heard)
        assert ears.ended == []

    run(tmp_path, work, hello_seconds=0.2)


def test_who_reads_too_slowly_is_cut_off_and_memory_stays_bounded(tmp_path: Path) -> None:
    async def work(channel: WorkersSocket, ears: Ears, path: Path) -> None:
        await join(ears, path)
        line, message = ears.lines[0], p.Prepare("r", "v", "x" * 60_000)
        for _ in range(100):
            line.send(message)
            assert len(line.unsent) <= module.MAX_UNSENT_BYTES + p.MAX_MESSAGE_BYTES
        assert ears.ended == ["it reads too slowly"]
        line.send(message)

    run(tmp_path, work)


def test_who_reads_late_gets_all_of_it_in_order(tmp_path: Path) -> None:
    async def work(channel: WorkersSocket, ears: Ears, path: Path) -> None:
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
    async def work(channel: WorkersSocket, ears: Ears, path: Path) -> None:
        good, flood = await join(ears, path), await join(ears, path)
        beats = p.encode(p.Beat()) * 200
        with suppress(OSError):
            for _ in range(1000):
                with suppress(BlockingIOError):
                    flood.raw(beats)
                await asyncio.sleep(0)
        await flood.cut_off()
        assert ears.ended == ["cannot read more than 1000 messages in 10 s"]
        assert len(ears.heard) < 1000
        good.say(p.Beat(requests=5))
        await soon(lambda: ears.heard[-1] == p.Beat(requests=5))

    run(tmp_path, work)
