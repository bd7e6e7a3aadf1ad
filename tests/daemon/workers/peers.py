"""A channel with ears, and peers as raw as sockets are."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import pytest
from tests.support import PATIENCE_SECONDS, soon

from modelward.daemon.system.unix_socket import Credentials
from modelward.daemon.workers.channel import WorkerConnection, WorkersSocket
from modelward.worker import protocol as p


@dataclass
class Ears:
    """Keeps what it is told."""

    lines: list[WorkerConnection] = field(default_factory=list)
    fds: list[int] = field(default_factory=list)
    heard: list[p.FromWorker] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)

    def joined(self, line: WorkerConnection, hello: p.Hello, fds: list[int]) -> None:
        self.lines.append(line)
        self.fds += fds

    def received(self, line: WorkerConnection, message: p.FromWorker) -> None:
        if isinstance(message, p.Reopened):
            raise p.BadMessage("cannot take that now")
        self.heard.append(message)

    def left(self, line: WorkerConnection, because: str) -> None:
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
Work = Callable[[WorkersSocket, Ears, Path], Awaitable[None]]


def run(
    tmp_path: Path,
    work: Work,
    *,
    allowed: Callable[[Credentials], bool] = lambda who: True,
    hello_seconds: float = PATIENCE_SECONDS,
) -> None:
    async def whole() -> None:
        ears, path = Ears(), tmp_path / "workers.sock"
        channel = WorkersSocket(path, ears, allowed, hello_seconds=hello_seconds)
        await channel.open()
        try:
            await work(channel, ears, path)
        finally:
            await channel.close()
            for fd in ears.fds:
                os.close(fd)
        assert not path.exists()

    asyncio.run(asyncio.wait_for(whole(), PATIENCE_SECONDS))


async def join(ears: Ears, path: Path) -> Peer:
    """A peer that was greeted."""
    peer, before = Peer(path), len(ears.lines)
    peer.say(HELLO)
    await soon(lambda: len(ears.lines) > before)
    return peer
