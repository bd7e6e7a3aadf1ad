"""Bounds the bytes of large answers that clients have not read yet, for a worker and for one client.

It decides whether another large answer may be made. It must not send. Invariant: unread bytes stay within the limit
plus one answer. A client that reads is not refused because of clients that do not, as long as one of those can be cut.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final, Protocol

LARGE_BYTES: Final = 1 << 20
"""Smaller answers are not counted: the kernel and the connection hold them."""
CUT_SECONDS: Final = 2.0
"""A client that reads nothing for this time may be cut off in favour of others."""
SLOW_RATE: Final = 64 * 1024
"""Bytes a second; a client that reads faster is not cut off."""


class Unread(Exception):
    """Too much is unread already; the text gives the amount."""


class SendingAnswer(Protocol):
    """A request on its way. `pending` bytes were allowed to it and are not in its connection yet."""

    client: str
    pending: int


class Sending(Protocol):
    """A connection. `unread_bytes` wait in it. It was read at `read_rate` bytes a second in the last
    `unread_seconds`.
    """

    @property
    def peer(self) -> str: ...
    @property
    def unread_bytes(self) -> int: ...
    @property
    def unread_seconds(self) -> float: ...
    @property
    def read_rate(self) -> float: ...
    def cut(self) -> None: ...


def most_stuck(connections: Collection[Sending]) -> Sending | None:
    """The connection to cut off: the slowest of those that hardly read. Pure."""
    found = [c for c in connections if c.unread_bytes and c.unread_seconds >= CUT_SECONDS and c.read_rate < SLOW_RATE]
    return min(found, key=lambda c: (c.read_rate, -c.unread_bytes), default=None)


class Answers:
    """The counts of one worker; all methods belong to the event loop. `most_bytes` for all clients, half of it
    for one.
    """

    def __init__(self, most_bytes: int, connections: Callable[[], Collection[Sending]]) -> None:
        self._most_bytes, self._connections = most_bytes, connections
        self.open: set[SendingAnswer] = set()

    def limit(self, most_bytes: int) -> None:
        """Sets another limit from now on; what was allowed stays allowed."""
        self._most_bytes = most_bytes

    def allow(self, answer: SendingAnswer, size: int) -> None:
        """Counts `size` bytes that will be sent for this request. Raises Unread when they are too many."""
        answer.pending = 0
        if size < LARGE_BYTES:
            return
        while (unread := self._too_much(answer.client, size)) and (stuck := most_stuck(self._connections())):
            stuck.cut()
        if unread:
            raise Unread(f"cannot answer: {unread} bytes of answers are not read yet by their clients")
        answer.pending = size

    def make_room(self) -> bool:
        """Cuts one connection that hardly reads. False when there is none."""
        stuck = most_stuck(self._connections())
        if stuck is not None:
            stuck.cut()
        return stuck is not None

    def _too_much(self, client: str, size: int) -> int:
        """How many unread bytes prevent the answer, 0 when there is room. The first answer always has room."""
        held = [(a.client, a.pending) for a in self.open if a.pending]
        held += [(c.peer, c.unread_bytes) for c in self._connections() if c.unread_bytes]
        every, mine = sum(size for _, size in held), sum(size for name, size in held if name == client)
        if every and every + size > self._most_bytes:
            return every
        return mine if mine and mine + size > self._most_bytes // 2 else 0
