"""An answer of unknown length: its place is counted before the answer begins, and freed after its
end.

Counting at the first byte would let many in at once. Invariant: the place is freed exactly once, also when the client
left before the first byte.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Final

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

STILL: Final = "modelward.still"
"""Where a request's scope may hold a function that decides, before each event, whether its listener may have it."""
Still = Callable[[], Awaitable[bool]]


async def always() -> bool:
    """What stands for STILL where every viewer may have what comes."""
    return True


class HeldStream(StreamingResponse):
    """Server-sent events, or what `media_type` says, from `source`. `left` is called when the answer is over, however
    it ended; with `seconds` it is cut off after that time.
    """

    def __init__(
        self,
        source: AsyncIterator[bytes],
        left: Callable[[], None],
        *,
        media_type: str = "text/event-stream",
        headers: Mapping[str, str] | None = None,
        seconds: float | None = None,
    ) -> None:
        always_sent = {"Cache-Control": "no-store, no-transform", "X-Accel-Buffering": "no"}
        super().__init__(source, media_type=media_type, headers={**always_sent, **(headers or {})})
        self._left, self._seconds = left, seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            with suppress(TimeoutError):  # the connection is closed in the middle of the answer
                async with asyncio.timeout(self._seconds):
                    await super().__call__(scope, receive, send)
        finally:
            self._left()
