"""Limits the number of a server's connections: one without a request is closed for a new one.

If there is none, the oldest one whose request is incomplete is closed. If all are being answered, none is closed: the
new one is refused by uvicorn (503), or by a subclass that overrides `make_room`.
"""

from __future__ import annotations

import asyncio
from typing import ClassVar, TypeVar

from ...worker.shared.http_framing import Framed


class Bounded(Framed):
    """One connection. `room` and `most` belong to the server: see `bounded`."""

    room: ClassVar[dict[Bounded, None]]
    most: ClassVar[int]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.room[self] = None
        if len(self.room) > self.most:
            self.make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        self.room.pop(self, None)
        super().connection_lost(exc)

    def make_room(self) -> None:
        """Closes another connection, if one has no request or an incomplete one."""
        others = [other for other in self.room if other is not self]
        spare = [other for other in others if not other.busy()] or [other for other in others if other.comes()]
        if spare:
            spare[0].leave()

    def leave(self) -> None:
        """Closes this connection at once; its place is free when this returns."""
        self.room.pop(self, None)
        self.transport.abort()

    def busy(self) -> bool:
        """A request is being answered."""
        return self.cycle is not None and not self.cycle.response_complete

    def comes(self) -> bool:
        """The rest of a request has not arrived yet."""
        return self._in_body


Kind = TypeVar("Kind", bound=Bounded)


def bounded(kind: type[Kind], most: int) -> type[Kind]:
    """The protocol of one server with at most `most` connections."""
    return type(kind.__name__, (kind,), {"room": {}, "most": most})
