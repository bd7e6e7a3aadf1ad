"""The worker socket: accepts workers, checks their credentials, carries messages and the listening socket.

It handles connections and lines and does not interpret messages. A peer that sends unreadable data, or reads too
slowly, loses its connection. The reason is logged, and no other peer is affected. Everything is bounded: connections,
line length, messages in a period, bytes that wait to be sent, bytes read in one turn.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import structlog
from msgspec import Struct, field

from ...worker import protocol as p
from ..system.background import here
from ..system.failures import sentence
from ..system.unix_socket import Credentials, bind, credentials

MAX_CONNECTIONS = 256
MAX_STRANGERS = 128
"""Limit for connections of users other than root and the daemon's own: they must not keep its workers out."""
MAX_UNSENT_BYTES = 1 << 20
MAX_FDS = 1
"""A worker has at most one listening socket to hand over."""
READ_BYTES = 64 * 1024
HELLO_SECONDS = 10.0
MAX_MESSAGES = 1000
MESSAGES_SECONDS = 10.0
"""A worker that works correctly sends at most MAX_MESSAGES in this time."""
BREATH_SECONDS = 1.0
"""The time between two attempts to accept while no descriptor is free."""
CLOSE_SECONDS = 2.0
_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class Listener(Protocol):
    """Receives the messages of the connections. Each method is called on the event loop and must not block."""

    def joined(self, line: WorkerConnection, hello: p.Hello, fds: list[int]) -> None: ...
    def received(self, line: WorkerConnection, message: p.FromWorker) -> None: ...
    def left(self, line: WorkerConnection, because: str) -> None: ...


class WorkerConnection(Struct, eq=False):
    """One connection. `heard` counts messages since `counted_from`, loop seconds.

    `fds` are descriptors that came before the hello. The part that takes them must close them.
    """

    sock: socket.socket
    who: Credentials
    close: Callable[[str], None] = lambda because: None
    lines: p.Lines = field(default_factory=p.Lines)
    fds: list[int] = field(default_factory=list)
    greeted: bool = False
    unsent: bytearray = field(default_factory=bytearray)
    deadline: asyncio.TimerHandle | None = None
    heard: int = 0
    counted_from: float = 0.0

    def send(self, message: p.Message) -> None:
        """Queues a message. A peer that does not read its messages loses the connection."""
        if self.sock.fileno() < 0:
            return
        self.unsent += p.encode(message)
        if len(self.unsent) > MAX_UNSENT_BYTES:
            self.close("it reads too slowly")
            return
        self.flush()

    def flush(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self.unsent:
                del self.unsent[: self.sock.send(self.unsent)]
        except BlockingIOError:
            loop.add_writer(self.sock, self.flush)
            return
        except OSError as e:
            self.close(e.strerror or "it is gone")
            return
        loop.remove_writer(self.sock)


class WorkersSocket:
    """The listening end of the worker socket and all its connections. `group` is the group of the socket file, -1 for
    none.
    """

    def __init__(
        self,
        path: Path,
        listener: Listener,
        allowed: Callable[[Credentials], bool],
        *,
        hello_seconds: float = HELLO_SECONDS,
    ) -> None:
        self._path, self._listener, self._allowed, self._hello_seconds = path, listener, allowed, hello_seconds
        self._log = structlog.get_logger("channel")
        self._sock: socket.socket | None = None
        self._file, self.group = (0, 0), -1
        self._lines: set[WorkerConnection] = set()
        self._breath: asyncio.TimerHandle | None = None

    async def open(self) -> None:
        """Starts listening. Raises OSError."""
        self._sock, self._file, self.group = await asyncio.to_thread(_bound, self._path)
        self._watch()

    def in_place(self) -> bool:
        """Whether the socket file is still ours. Also updates `group`. Not on the event loop."""
        found, group = _file(self._path)
        if self._sock is None or found != self._file:
            return False
        self.group = group
        return True

    async def heal(self) -> bool:
        """Binds again when the socket file was removed or replaced; True when it did. Raises OSError."""
        if await asyncio.to_thread(self.in_place):
            return False
        self._stop_listening()
        await self.open()
        return True

    async def answers(self, seconds: float) -> bool:
        """Whether a connection from outside is accepted and closed again."""
        try:
            async with asyncio.timeout(seconds):
                reader, writer = await asyncio.open_unix_connection(str(self._path))
                try:
                    writer.write_eof()
                    return await reader.read(1) == b""
                finally:
                    writer.close()
        except (OSError, TimeoutError):
            return False

    async def close(self) -> None:
        """Closes all connections and removes the socket file. If the disk does not answer, the file stays."""
        for line in list(self._lines):
            self._close(line, "the daemon stops", log=False)
        self._stop_accepting()
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await asyncio.to_thread(self._remove)
        self._stop_listening()

    def _remove(self) -> None:
        if self.in_place():
            self._path.unlink(missing_ok=True)

    def _watch(self) -> None:
        if self._sock is not None:
            asyncio.get_running_loop().add_reader(self._sock, self._accept)

    def _stop_accepting(self) -> None:
        if self._breath is not None:
            self._breath.cancel()
        if self._sock is not None:
            asyncio.get_running_loop().remove_reader(self._sock)

    def _stop_listening(self) -> None:
        self._stop_accepting()
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    def _accept(self) -> None:
        assert self._sock is not None
        loop = asyncio.get_running_loop()
        try:
            sock, _ = self._sock.accept()
        except OSError as e:
            if e.errno in _EXHAUSTED:  # the peer still waits and would wake the loop again and again
                self._log.error("cannot accept a worker; trying again", because=e.strerror)
                loop.remove_reader(self._sock)
                self._breath = loop.call_later(BREATH_SECONDS, self._watch)
            return
        sock.setblocking(False)
        who = credentials(sock)
        if refusal := self._refusal(who):
            self._log.warning("worker refused", pid=who.pid, uid=who.uid, because=refusal)
            sock.close()
            return
        line = WorkerConnection(sock, who)
        line.close = lambda because: self._close(line, because)
        self._lines.add(line)
        line.deadline = loop.call_later(self._hello_seconds, line.close, "it sent no hello in time")
        loop.add_reader(sock, self._read, line)

    def _refusal(self, who: Credentials) -> str:
        if not self._allowed(who):
            return "this user may not join"
        if len(self._lines) >= MAX_CONNECTIONS:
            return f"{MAX_CONNECTIONS} connections already"
        if who.stranger and sum(line.who.stranger for line in self._lines) >= MAX_STRANGERS:
            return f"{MAX_STRANGERS} connections of other users already"
        return ""

    def _read(self, line: WorkerConnection) -> None:
        try:
            data, fds = _receive(line.sock)
        except BlockingIOError:
            return
        except OSError as e:
            self._close(line, e.strerror or "it is gone")
            return
        wanted = 0 if line.greeted else MAX_FDS - len(line.fds)
        line.fds += fds[:wanted]
        _close_all(fds[wanted:])
        if not data:
            self._close(line, "it is gone")
            return
        try:
            here().fault("workers.sock")
            for text in line.lines.feed(data):
                self._handle(line, p.decode_from_worker(text))
                if line not in self._lines:
                    return
        except p.BadMessage as e:
            self._close(line, str(e))
        except BaseException as e:  # noqa: BLE001 - the root of a callback
            failures = here().failures
            failures.failed("workers.sock", e, lasts_seconds=failures.shown_seconds)
            # Some of its messages are lost. When it joins again it sends everything that counts.
            self._close(line, f"an error in the daemon: {sentence(e)}")

    def _handle(self, line: WorkerConnection, message: p.FromWorker) -> None:
        now = asyncio.get_running_loop().time()
        if now - line.counted_from > MESSAGES_SECONDS:
            line.counted_from, line.heard = now, 0
        line.heard += 1
        if line.heard > MAX_MESSAGES:
            raise p.BadMessage(f"cannot read more than {MAX_MESSAGES} messages in {MESSAGES_SECONDS:g} s")
        if line.greeted:
            self._listener.received(line, message)
            return
        if not isinstance(message, p.Hello):
            raise p.BadMessage(f"cannot take {message.__struct_config__.tag} before hello")
        if message.protocol != p.PROTOCOL:
            raise p.BadMessage(f"cannot speak protocol {message.protocol}: this daemon speaks {p.PROTOCOL}")
        line.greeted = True
        if line.deadline is not None:
            line.deadline.cancel()
        fds, line.fds = line.fds, []
        self._listener.joined(line, message, fds)

    def _close(self, line: WorkerConnection, because: str, *, log: bool = True) -> None:
        if line not in self._lines:
            return
        self._lines.discard(line)
        loop = asyncio.get_running_loop()
        loop.remove_reader(line.sock)
        loop.remove_writer(line.sock)
        if line.deadline is not None:
            line.deadline.cancel()
        _close_all(line.fds)
        line.sock.close()
        if not log:
            return
        if not line.greeted and line.who.pid == os.getpid():
            return  # the daemon tested its own socket
        self._log.info("disconnected", pid=line.who.pid, uid=line.who.uid, because=because)
        if line.greeted:
            self._listener.left(line, because)


def _bound(path: Path) -> tuple[socket.socket, tuple[int, int], int]:
    path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    return bind(path), *_file(path)


def _receive(sock: socket.socket) -> tuple[bytes, list[int]]:
    """Bytes and descriptors; the descriptors are closed in children. socket.recv_fds passes its flags on."""
    data, ancillary, _, _ = sock.recvmsg(READ_BYTES, socket.CMSG_LEN(MAX_FDS * 4), socket.MSG_CMSG_CLOEXEC)
    fds: list[int] = []
    for level, kind, content in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            fds += struct.unpack(f"{len(content) // 4}i", content[: len(content) // 4 * 4])
    return data, fds


def _file(path: Path) -> tuple[tuple[int, int], int]:
    """Device and inode, which are unique while a socket bound to the file is open, and the group. Zeros and -1 for no
    file.
    """
    try:
        found = os.stat(path)
    except OSError:
        return (0, 0), -1
    return (found.st_dev, found.st_ino), found.st_gid


def _close_all(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)
