"""The socket that clients connect to: from systemd, from a worker that kept it, or bound anew.

All workers accept from this one open socket, so a worker can start or end without the port closing. Resolving a name
may wait for a name server: `bind`, `bind_elsewhere` and `resolve` are for a thread. Invariant: there is never a second
socket on the same address while a worker still holds the first.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress

from ..errors import ModelwardError

BACKLOG = 1024
Place = tuple[socket.AddressFamily, tuple[str, int]]
"""Family and address of a resolved name."""


class CannotListen(ModelwardError):
    """The address cannot be used."""

    exit_status = 2


class AddressInUse(CannotListen):
    """Another program listens on the address already."""


def address(listen: str) -> tuple[str, int]:
    """Host and port of "127.0.0.1:7860" or "[::1]:7860". Raises CannotListen."""
    host, _, port = listen.rpartition(":")
    if not (port.isascii() and port.isdecimal() and int(port) < 1 << 16):
        raise CannotListen(f"cannot listen on {listen!r}: not host:port")
    return host.strip("[]"), int(port)


def bind(listen: str, beside: Iterable[socket.socket] = ()) -> socket.socket:
    """A listening TCP socket. Raises CannotListen; of those, AddressInUse when another program has the address.

    `beside` are listening sockets of ours on other addresses, perhaps with the same port: they do not prevent it.
    """
    try:
        family, place = _resolved(listen)
        sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with _sharing(*beside, sock) if beside else nullcontext():
                sock.bind(place)
                sock.listen(BACKLOG)
        except OSError:
            sock.close()
            raise
    except OSError as e:
        kind_of = AddressInUse if e.errno == errno.EADDRINUSE else CannotListen
        raise kind_of(f"cannot listen on {listen}: {e.strerror or e}") from e
    return sock


def bind_elsewhere(held: socket.socket, listen: str) -> socket.socket | None:
    """A socket on that address, beside the one that is held. None when the held one is on it. Raises CannotListen."""
    return None if is_at(held, listen, resolve(listen)) else bind(listen, (held,))


def resolve(listen: str) -> Place | None:
    """The resolved address; None for a name that has none now. Raises CannotListen when it is not host:port."""
    address(listen)
    try:
        return _resolved(listen)
    except (OSError, CannotListen):
        return None


def is_at(sock: socket.socket, listen: str, found: Place | None) -> bool:
    """Whether the socket is bound to that address, which `resolve` returned as `found`; port 0 means any.

    A name that has no address now counts as the same.
    """
    name = sock.getsockname()
    if found is None:
        return address(listen)[1] in (0, name[1])
    family, place = found
    return sock.family == family and name[0] == place[0] and place[1] in (0, name[1])


def name_of(sock: socket.socket) -> str:
    """The address that a socket is bound to, in one spelling."""
    name = sock.getsockname()
    if sock.family == socket.AF_INET6:
        return f"[{name[0]}]:{name[1]}"
    return f"{name[0]}:{name[1]}" if sock.family == socket.AF_INET else f"unix:{name!s}"


def _resolved(listen: str) -> Place:
    """Family and address. Raises CannotListen, OSError."""
    host, port = address(listen)
    try:
        # Bytes: for text it loads the tables of international names, also for one that needs none.
        name = host.encode() if host.isascii() else host
        found = socket.getaddrinfo(name or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except UnicodeError as e:  # raised by the resolver for a label that is too long
        raise CannotListen(f"cannot listen on {listen}: no such host") from e
    return found[0], found[4]  # type: ignore[return-value]


@contextmanager
def _sharing(*socks: socket.socket) -> Iterator[None]:
    """Lets all of them bind the same port meanwhile. Not longer than that: a second daemon must be refused."""
    for sock in socks:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        yield
    finally:
        for sock in socks:
            with suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 0)


def adopt(fd: int) -> socket.socket | None:
    """The listening socket of a descriptor that a worker handed over. If it is none, it is closed: None."""
    try:
        sock = socket.socket(fileno=fd)
    except OSError:  # some other kind of file
        os.close(fd)
        return None
    with suppress(OSError):
        listening = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        if listening and sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setblocking(False)
            return sock
    sock.close()
    return None
