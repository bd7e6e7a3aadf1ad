"""The socket that clients connect to: from systemd, from a worker that kept it, or bound anew.

All workers accept from this one open socket, so one can come and go without the port closing. Invariant: never a second
socket on the same address while a worker still holds the first.
"""

from __future__ import annotations

import errno
import os
import socket
from contextlib import suppress

from ..errors import ModelwardError

BACKLOG = 1024


class CannotListen(ModelwardError):
    """The address can't be had."""

    exit_status = 2


class AddressInUse(CannotListen):
    """Somebody listens there already."""


def address(listen: str) -> tuple[str, int]:
    """Host and port of "127.0.0.1:7860" or "[::1]:7860". Raises CannotListen."""
    host, _, port = listen.rpartition(":")
    if not (port.isascii() and port.isdecimal() and int(port) < 1 << 16):
        raise CannotListen(f"cannot listen on {listen!r}: not host:port")
    return host.strip("[]"), int(port)


def bind(listen: str) -> socket.socket:
    """A listening TCP socket. Raises CannotListen, of which AddressInUse."""
    host, port = address(listen)
    try:
        family, kind, proto, _, place = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        sock = socket.socket(family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, proto)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(place)
            sock.listen(BACKLOG)
        except OSError:
            sock.close()
            raise
    except OSError as e:
        kind_of = AddressInUse if e.errno == errno.EADDRINUSE else CannotListen
        raise kind_of(f"cannot listen on {listen}: {e.strerror or e}") from e
    except UnicodeError as e:  # what the resolver says to a label that is too long
        raise CannotListen(f"cannot listen on {listen}: no such host") from e
    return sock


def adopt(fd: int, listen: str) -> socket.socket | None:
    """The listening socket behind a descriptor that a worker handed over; None, and closed, when it is none."""
    try:
        sock = socket.socket(fileno=fd)
    except OSError:  # some other kind of file
        os.close(fd)
        return None
    with suppress(OSError, CannotListen):
        listening = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        port = address(listen)[1]
        if listening and sock.family in (socket.AF_INET, socket.AF_INET6) and port in (0, sock.getsockname()[1]):
            sock.setblocking(False)
            return sock
    sock.close()
    return None
