"""Ends a connection so that its client can read the answer although it still sends.

When a socket with unread bytes is closed, the kernel sends a reset, which may overtake the answer (RFC 9112 9.6). So
the sending side ends first, what still comes is dropped, and the rest ends when the client does, or soon. It must not
decide when a connection ends. Invariant: a closed connection is gone after LINGER_SECONDS, or after MOST_BYTES more
came.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

LINGER_SECONDS: Final = 2.0
MOST_BYTES: Final = 1 << 20


class Lingering:
    """A transport; all but `close` and `is_closing` is that of the given one.

    `sends`: whether the client may still send unread bytes; `began` is called when what it sends is dropped from now
    on.
    """

    def __init__(self, transport: asyncio.Transport, sends: Callable[[], bool], began: Callable[[], None]) -> None:
        self._transport, self._sends, self._began = transport, sends, began
        self._timer: asyncio.TimerHandle | None = None
        self._dropped = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def is_closing(self) -> bool:
        """Whether `close` was called, or the connection ended."""
        return self._timer is not None or self._transport.is_closing()

    def close(self) -> None:
        """Ends it once the written data is sent; at once when the client sends nothing more, or at the second call."""
        if self.is_closing() or not self._sends() or not self._transport.can_write_eof():
            self._transport.close()
            return
        self._timer = asyncio.get_running_loop().call_later(LINGER_SECONDS, self._transport.close)
        self._transport.write_eof()
        self._transport.resume_reading()
        self._began()

    def drop(self, count: int) -> None:
        """Counts bytes that came and were dropped."""
        self._dropped += count
        if self._dropped > MOST_BYTES:
            self._transport.close()

    def ended(self) -> None:
        """The connection is gone."""
        if self._timer is not None:
            self._timer.cancel()
