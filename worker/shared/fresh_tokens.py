"""The tokens of a file for a program with an event loop: a thread reads the file, answers come from memory.

It decides nothing. It must not wait longer than READ_SECONDS for a disk: until the disk answers, the last content
holds. Before the first reading no token is accepted. Invariant: after `fresh` on a disk that answers, a change that was
made before the call counts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Final

from .token_file import TokensFile

READ_SECONDS: Final = 0.25


class FreshTokens(TokensFile):
    """See the module and TokensFile. `changed` is called on the event loop when the problem changes, also when
    it ends.
    """

    def __init__(
        self,
        path: str,
        report: Callable[[str], None],
        marks: tuple[str, ...] = (),
        *,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(path, report, marks)
        self._changed, self._known_problem = changed, ""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="tokens")
        self._coming: Future[None] | None = None
        self._late: Future[None] | None = None

    def refresh(self) -> None:
        """Reads the file. Not for an event loop."""
        super()._look()

    async def fresh(self) -> None:
        """Returns when the file has been read, or after READ_SECONDS; at once while the disk does not answer."""
        if not self.configured:
            return
        coming = self.soon()
        if coming is self._late:
            return  # another call waited for it already
        if not (await asyncio.wait({asyncio.wrap_future(coming)}, timeout=READ_SECONDS))[0]:
            self._late = coming

    def soon(self) -> Future[None]:
        """A reading that has not begun yet."""
        if self._coming is None or self._coming.running() or self._coming.done():
            loop = asyncio.get_running_loop()
            self._coming = self._thread.submit(self.refresh)
            self._coming.add_done_callback(lambda _: self._tell(loop))
        return self._coming

    def close(self) -> None:
        """No reading begins any more."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _look(self) -> None:
        """Answers come from the last reading."""

    def _tell(self, loop: asyncio.AbstractEventLoop) -> None:
        problem = self._problem
        if problem != self._known_problem:
            self._known_problem = problem
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(self._changed)
