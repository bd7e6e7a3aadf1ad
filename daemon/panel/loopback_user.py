"""Which user is at the other end of a loopback connection, by the kernel's table of TCP sockets.

Both ends of a loopback connection stand in the table of our network namespace; the client's line names the owner of its
socket. Only a line that is established and still has its socket counts: a closed one is shown as root's. What is not
found, or stands too far down, is unknown: the caller then asks for a token. The table is read on a thread. One reading
serves every connection that was there when it began. The user database is read for one user at a time.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final

from msgspec import Struct

from ...worker.shared.loopback import is_loopback, plain_address
from ..system.background import reader
from ..system.safe_read import kernel_text

TABLES: Final = ("/proc/self/net/tcp", "/proc/self/net/tcp6")
OVERFLOW: Final = "/proc/sys/kernel/overflowuid"
MAX_TABLE_BYTES: Final = 32 << 20
"""Of one table: about 200,000 sockets."""
KNOWN_SECONDS: Final = 30.0
MAX_KNOWN: Final = 256
_CHUNK: Final = 64 * 1024
_ESTABLISHED: Final = "01"

Address = tuple[str, int]


class LoopbackPeer(Struct, eq=False):
    """One connection and what is known of the program at its other end.

    `operator` is None until it was read. `proxied` stays once a request had a sign of a proxy, `admitted` once a
    request was allowed that needs it. `share` is whose part of the connections it takes.
    """

    operator: bool | None = None
    proxied: bool = False
    admitted: bool = False
    share: str = ""


class Peers:
    """Reads what the kernel knows. `operator` returns whether a user may do everything; it may take long and runs on
    the thread.
    """

    def __init__(self, operator: Callable[[int], bool]) -> None:
        self._operator = operator
        self._asking = asyncio.Lock()
        self._users: dict[int, tuple[bool, float]] = {}
        self._reading: asyncio.Task[dict[tuple[Address, Address], int]] | None = None
        self._next: asyncio.Task[dict[tuple[Address, Address], int]] | None = None

    async def operates(self, client: Address | None, server: Address | None) -> bool:
        """Whether an operator's process of this machine holds the client's end."""
        if client is None or server is None or not (is_loopback(client[0]) and is_loopback(server[0])):
            return False
        pair = (_plain(client), _plain(server))
        for _ in range(2):  # a table that changes while it is read may lack a line
            uid = (await self._table(server[1])).get(pair)
            if uid is not None:
                return await self._user(uid)
        return False

    async def _user(self, uid: int) -> bool:
        """Whether this user is an operator, as it was found at most KNOWN_SECONDS ago."""
        async with self._asking:
            now = asyncio.get_running_loop().time()
            known, until = self._users.get(uid, (False, 0.0))
            if now >= until:
                known = await asyncio.to_thread(self._known, uid)
                if len(self._users) >= MAX_KNOWN:
                    self._users.clear()
                self._users[uid] = (known, now + KNOWN_SECONDS)
            return known

    def _known(self, uid: int) -> bool:
        with suppress(OSError, ValueError):
            if uid == int(kernel_text(OVERFLOW)):  # a user of another namespace, whoever that is
                return False
        return self._operator(uid)

    async def _table(self, port: int) -> dict[tuple[Address, Address], int]:
        """A reading that begins now or later: one under way may have passed the place already."""
        if self._next is None:
            self._next = reader(self._read(self._reading, port), "the table of sockets")
        return await asyncio.shield(self._next)

    async def _read(self, before: asyncio.Task[object] | None, port: int) -> dict[tuple[Address, Address], int]:
        if before is not None and not before.done():
            await asyncio.wait([before])
        self._reading, self._next = self._next, None
        return await asyncio.to_thread(owners, port)


def owners(port: int) -> dict[tuple[Address, Address], int]:
    """Client and server → uid, of every connection to this port whose client is here. Never raises."""
    found: dict[tuple[Address, Address], int] = {}
    for path in TABLES:
        with suppress(OSError):
            for line in _lines(path):
                _take(line, port, found)
    return found


def _take(line: str, port: int, found: dict[tuple[Address, Address], int]) -> None:
    """Puts the connection of one line of the table into `found`, if it is one to `port`."""
    parts = line.split()
    if len(parts) < 10 or parts[3] != _ESTABLISHED or not parts[2].endswith(f":{port:04X}"):
        return
    with suppress(ValueError):
        if int(parts[9]) != 0:  # an inode: the socket is still some process's
            found[_address(parts[1]), _address(parts[2])] = int(parts[7])


def _lines(path: str) -> Iterator[str]:
    """The lines of a table, as far as MAX_TABLE_BYTES. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        left, held = MAX_TABLE_BYTES, b""
        while left > 0 and (chunk := os.read(fd, _CHUNK)):
            left -= len(chunk)
            *lines, held = (held + chunk).split(b"\n")
            for line in lines:
                yield line.decode("ascii", "replace")
    finally:
        os.close(fd)


def _address(text: str) -> Address:
    """`0100007F:1388` → ("127.0.0.1", 5000). Words are in the byte order of the machine. Raises ValueError."""
    host, _, port = text.partition(":")
    words = [int(host[start : start + 8], 16).to_bytes(4, sys.byteorder) for start in range(0, len(host), 8)]
    return _plain((str(ipaddress.ip_address(b"".join(words))), int(port, 16)))


def _plain(address: Address) -> Address:
    """The same address in one spelling, IPv4 in IPv6 as IPv4."""
    return str(plain_address(address[0])), address[1]
