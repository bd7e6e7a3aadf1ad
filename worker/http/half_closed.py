"""Finds out whether a client that ended its sending side still waits for the answer, or is gone.

Both look the same here: the connection's end of file came. So a `100 Continue`, which every HTTP/1.1 client ignores
(RFC 9110 15.2), is written to it; a client that is gone answers with a reset. It must not be used once an answer has
begun, nor with HTTP/1.0. Invariant: `gone` is called at most once, and nothing is written after `end`.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable
from typing import Final

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
ASKED_AT_SECONDS: Final = (0.0, 1.0, 5.0, 25.0)
"""Some clients accept no more than five such lines for one request."""
FIRST_LOOK_SECONDS: Final = 0.02
LONGEST_LOOK_SECONDS: Final = 0.5


class HalfClosed:
    """Watches one connection until `end`. `may_write`: no answer has begun. `gone` is called when the client is
    gone.
    """

    def __init__(self, transport: asyncio.Transport, may_write: Callable[[], bool], gone: Callable[[], None]) -> None:
        self._transport, self._may_write, self._gone = transport, may_write, gone
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._asked = 0
        self._pause = FIRST_LOOK_SECONDS
        self._timer: asyncio.TimerHandle | None = None
        self._look()

    def end(self) -> None:
        """Ends the watch."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        if self._is_reset():
            self._gone()
            return
        due = self._asked < len(ASKED_AT_SECONDS) and self._loop.time() - self._began >= ASKED_AT_SECONDS[self._asked]
        if due and self._may_write():
            self._asked += 1
            self._transport.write(CONTINUE)
        self._timer = self._loop.call_later(self._pause, self._look)
        self._pause = min(2 * self._pause, LONGEST_LOOK_SECONDS)

    def _is_reset(self) -> bool:
        """The loop no longer watches a connection after its end of file."""
        descriptor = self._transport.get_extra_info("socket").fileno()
        if descriptor < 0:
            return True
        poll = select.poll()
        poll.register(descriptor, 0)
        return any(events & (select.POLLERR | select.POLLHUP) for _, events in poll.poll(0))
