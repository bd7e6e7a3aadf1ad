"""Unix sockets: binds them with the right mode from the start, and reads the peer's credentials from the kernel.

It decides nothing about access.
"""

from __future__ import annotations

import os
import socket
import struct
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

SO_PEERGROUPS = 59


class Credentials(Struct, frozen=True):
    """The other end, as the kernel reports it. `groups`: the supplementary ones, None where they are not known."""

    pid: int
    uid: int
    gid: int
    groups: tuple[int, ...] | None = None

    @property
    def stranger(self) -> bool:
        return self.uid not in (0, os.geteuid())


def credentials(sock: socket.socket) -> Credentials:
    """SO_PEERCRED and SO_PEERGROUPS of a Unix socket."""
    pid, uid, gid = struct.unpack("iII", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    with suppress(OSError):  # more than 256 groups, which is all that Python has room for; or an old kernel
        groups = sock.getsockopt(socket.SOL_SOCKET, SO_PEERGROUPS, 1024)
        return Credentials(pid, uid, gid, struct.unpack(f"{len(groups) // 4}I", groups))
    return Credentials(pid, uid, gid)


def bind(path: Path, mode: int = 0o660) -> socket.socket:
    """A listening Unix socket at `path`. Replaces a socket that a dead daemon left there. Raises OSError."""
    with suppress(FileNotFoundError):
        path.unlink()
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        os.fchmod(sock.fileno(), 0o600)  # the file gets this mode; the umask belongs to all threads
        sock.bind(str(path))
        os.chmod(path, mode)
        sock.listen(128)
    except OSError:
        sock.close()
        raise
    return sock
