"""An answer of unlimited length: its place is counted before the answer begins, and freed after its
end.

Counting at the first byte would let many in at once. Invariant: the place is freed exactly once, also when the client
left before the first byte.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

STILL: Final = "modelward.still"
"""Where a request's scope may hold a function that says, before each event, whether its listener may have it."""
Still = Callable[[], Awaitable[bool]]


async def always() -> bool:
    """What stands for STILL where every viewer may have what comes."""
    return True


class HeldStream(StreamingResponse):
    """Server-sent events from `source`; `left` is called when the answer is over, however it ended."""

    def __init__(self, source: AsyncIterator[bytes], left: Callable[[], None]) -> None:
        super().__init__(
            source,
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store, no-transform", "X-Accel-Buffering": "no"},
        )
        self._left = left

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._left()
