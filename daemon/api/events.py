"""Server-sent events: every reader gets each event, and a slow reader delays nothing.

Each reader has a queue of limited size. When it is full the oldest event is dropped, and the reader is informed of it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.responses import Response

from ..answers.encode import encoded
from .language import language_of, translated_event
from .streams import STILL, HeldStream, Still, always

MAX_LISTENERS = 100
MAX_WAITING = 200
PING_SECONDS = 15.0


class Hub:
    """Sends events to all readers."""

    def __init__(self) -> None:
        self._listeners: set[asyncio.Queue[bytes | None]] = set()
        self._closed = False
        self.told: Counter[str] = Counter()
        """How often each kind of event was told, listeners or not."""
        self.last: dict[str, object] = {}
        """The newest event of each kind."""

    def tell(self, event: str, data: object) -> None:
        """Sends an event to every reader; never blocks."""
        self.told[event] += 1
        self.last[event] = data
        if not self._listeners:
            return
        line = b"event: %b\ndata: %b\n\n" % (event.encode(), encoded(data))
        for queue in self._listeners:
            if queue.full():
                queue.get_nowait()
                queue.get_nowait()
                queue.put_nowait(b"event: missed\ndata: {}\n\n")
            queue.put_nowait(line)

    def close(self) -> None:
        """Ends every stream, so that no reader delays the daemon's end."""
        self._closed = True
        for queue in self._listeners:
            while not queue.empty():
                queue.get_nowait()
            queue.put_nowait(None)

    async def _stream(self, queue: asyncio.Queue[bytes | None], still: Still, chinese: bool) -> AsyncIterator[bytes]:
        """The events for one reader, until it leaves, may no longer read, or the hub closes."""
        yield b": hello\n\n"
        while not self._closed and await still():
            try:
                async with asyncio.timeout(PING_SECONDS):
                    line = await queue.get()
            except TimeoutError:
                yield b": ping\n\n"
                continue
            if line is None or not await still():
                return
            yield await translated_event(line) if chinese else line

    async def respond(self, request: Request) -> Response:
        """GET /v1/events. The reader is counted before the answer begins, so that the limit holds for many at once."""
        if len(self._listeners) >= MAX_LISTENERS:
            return Response(status_code=503, headers={"Retry-After": "5"})
        still: Still = request.scope.get(STILL, always)
        queue: asyncio.Queue[bytes | None] = asyncio.Queue(MAX_WAITING)
        self._listeners.add(queue)
        return HeldStream(
            self._stream(queue, still, language_of(request.scope) == "zh"), lambda: self._listeners.discard(queue)
        )
