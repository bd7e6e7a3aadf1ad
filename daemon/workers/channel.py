"""The worker socket: accepts workers, checks who they are, carries messages and the listening socket.

It knows connections and lines, not what they mean. A peer that writes what can't be read, or reads too slowly, loses
its connection with a logged reason and harms nobody else. Everything is bounded: connections, line length, what waits
to be sent, what is read in one turn.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import structlog

from ...worker import protocol as p

MAX_CONNECTIONS = 256
MAX_UNSENT_BYTES = 1 << 20
MAX_FDS = 4
READ_BYTES = 64 * 1024
HELLO_SECONDS = 10.0


@dataclass(frozen=True)
class Credentials:
    """Who is at the other end, by the kernel's word."""

    pid: int
    uid: int
    gid: int


class Listener(Protocol):
    """Whoever owns the meaning of the messages. Each method is called on the event loop and must not block."""

    def joined(self, line: Line, hello: p.Hello, fds: list[int]) -> None: ...
    def said(self, line: Line, message: p.FromWorker) -> None: ...
    def left(self, line: Line, because: str) -> None: ...


@dataclass(eq=False)
class Line:
    """One connection. `fds` are descriptors that came before the hello did; whoever takes them closes them."""

    sock: socket.socket
    who: Credentials
    close: Callable[[str], None] = lambda because: None
    lines: p.Lines = field(default_factory=p.Lines)
    fds: list[int] = field(default_factory=list)
    greeted: bool = False
    unsent: bytearray = field(default_factory=bytearray)
    deadline: asyncio.TimerHandle | None = None

    def send(self, message: p.Message) -> None:
        """Queues a message; a peer that does not read what it is told loses the connection."""
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


def credentials(sock: socket.socket) -> Credentials:
    """SO_PEERCRED of a Unix socket."""
    return Credentials(*struct.unpack("iII", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)))


def bind(path: Path, mode: int = 0o660) -> socket.socket:
    """A listening Unix socket at `path`, in place of whatever socket a dead daemon left there. Raises OSError."""
    with suppress(FileNotFoundError):
        path.unlink()
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        mask = os.umask(0o777 & ~mode)
        try:
            sock.bind(str(path))
        finally:
            os.umask(mask)
        sock.listen(128)
    except OSError:
        sock.close()
        raise
    return sock


class Channel:
    """The listening end of the worker socket and all its connections."""

    def __init__(self, path: Path, listener: Listener, allowed: Callable[[Credentials], bool]) -> None:
        self._path, self._listener, self._allowed = path, listener, allowed
        self._log = structlog.get_logger("channel")
        self._sock: socket.socket | None = None
        self._inode = 0
        self._lines: set[Line] = set()

    def open(self) -> None:
        """Starts listening. Raises OSError."""
        self._sock = bind(self._path)
        self._inode = os.stat(self._path).st_ino
        asyncio.get_running_loop().add_reader(self._sock, self._accept)

    def heal(self) -> bool:
        """Binds anew when somebody removed or replaced the socket file; True when it had to."""
        try:
            if os.stat(self._path).st_ino == self._inode:
                return False
        except OSError:
            pass
        self._stop_listening()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self.open()
        return True

    async def answers(self, seconds: float) -> bool:
        """Whether somebody who connects is taken and let go again, asked from the outside."""
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

    def close(self) -> None:
        self._stop_listening()
        for line in list(self._lines):
            self._close(line, "the daemon stops", tell=False)
        with suppress(FileNotFoundError):
            self._path.unlink()

    def _stop_listening(self) -> None:
        if self._sock is not None:
            asyncio.get_running_loop().remove_reader(self._sock)
            self._sock.close()
            self._sock = None

    def _accept(self) -> None:
        assert self._sock is not None
        try:
            sock, _ = self._sock.accept()
        except OSError:  # the peer left again, or no descriptor is to be had now
            return
        sock.setblocking(False)
        who = credentials(sock)
        if len(self._lines) >= MAX_CONNECTIONS or not self._allowed(who):
            self._log.warning("worker refused", pid=who.pid, uid=who.uid, connections=len(self._lines))
            sock.close()
            return
        line = Line(sock, who)
        line.close = lambda because: self._close(line, because)
        self._lines.add(line)
        loop = asyncio.get_running_loop()
        line.deadline = loop.call_later(HELLO_SECONDS, line.close, "it did not say hello")
        loop.add_reader(sock, self._read, line)

    def _read(self, line: Line) -> None:
        try:
            data, fds, _, _ = socket.recv_fds(line.sock, READ_BYTES, MAX_FDS)
        except BlockingIOError:
            return
        except OSError as e:
            self._close(line, e.strerror or "it is gone")
            return
        if line.greeted:
            _close_all(fds)
        else:
            _close_all(line.fds[MAX_FDS:])
            line.fds += fds
        if not data:
            self._close(line, "it is gone")
            return
        try:
            for text in line.lines.feed(data):
                self._hear(line, p.decode_from_worker(text))
                if line not in self._lines:
                    return
        except p.Refused as e:
            self._log.warning("worker disconnected", pid=line.who.pid, because=str(e))
            self._close(line, str(e))

    def _hear(self, line: Line, message: p.FromWorker) -> None:
        if line.greeted:
            self._listener.said(line, message)
            return
        if not isinstance(message, p.Hello):
            raise p.Refused(f"cannot take {type(message).__name__.lower()} before hello")
        if message.protocol != p.PROTOCOL:
            raise p.Refused(f"cannot speak protocol {message.protocol}: this daemon speaks {p.PROTOCOL}")
        line.greeted = True
        if line.deadline is not None:
            line.deadline.cancel()
        fds, line.fds = line.fds, []
        self._listener.joined(line, message, fds)

    def _close(self, line: Line, because: str, *, tell: bool = True) -> None:
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
        if tell and line.greeted:
            self._listener.left(line, because)


def _close_all(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)
