"""Server-sent events: everybody who listens hears what happens, and nobody who listens slowly costs anything.

Each listener has a bounded queue; when it is full the oldest goes and the listener is told that it missed some.
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
    """The place where events are told."""

    def __init__(self) -> None:
        self._listeners: set[asyncio.Queue[bytes | None]] = set()
        self._closed = False
        self.told: Counter[str] = Counter()
        """How often each kind of event was told, listeners or not."""
        self.last: dict[str, object] = {}
        """The newest event of each kind."""

    def tell(self, event: str, data: object) -> None:
        """Every listener hears of it; never blocks."""
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
        """Ends every stream, so that a reader can't hold up the daemon's end."""
        self._closed = True
        for queue in self._listeners:
            while not queue.empty():
                queue.get_nowait()
            queue.put_nowait(None)

    async def _stream(self, queue: asyncio.Queue[bytes | None], still: Still, chinese: bool) -> AsyncIterator[bytes]:
        """What one listener receives, until it leaves, may not have it any more, or the hub closes."""
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
        """GET /v1/events. The listener is counted before it is answered, so that the limit holds for a burst."""
        if len(self._listeners) >= MAX_LISTENERS:
            return Response(status_code=503, headers={"Retry-After": "5"})
        still: Still = request.scope.get(STILL, always)
        queue: asyncio.Queue[bytes | None] = asyncio.Queue(MAX_WAITING)
        self._listeners.add(queue)
        return HeldStream(
            self._stream(queue, still, language_of(request.scope) == "zh"), lambda: self._listeners.discard(queue)
        )
