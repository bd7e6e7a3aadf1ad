"""The store, on a thread of its own: a slow disk delays a note, never the event loop. Opening one is for a thread.

`note` records what happened and returns at once. `do` stores what must be kept before it is reported. What the file
cannot take stays in memory: `problem` gives the reason, and `check` writes it to the file later. Invariant: notes and
work reach the store in order, from one thread.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

import structlog
from msgspec import to_builtins

from ...worker.shared.started import awaited
from ..errors import ModelwardError
from ..system.background import here
from .store import HistoryEntry, Store

T = TypeVar("T")
MAX_WAITING = 1000
CLOSE_SECONDS = 2.5
"""How long the end of the daemon waits for a disk that does not answer."""


class CannotKeep(ModelwardError):
    """The state could not be written or read."""


class AsyncStore:
    """See the module. `stored` is called with each line of history once it is on the disk."""

    def __init__(
        self, store: Store, stored: Callable[[HistoryEntry], None], *, most_waiting: int = MAX_WAITING
    ) -> None:
        self._store, self._stored, self._most_waiting = store, stored, most_waiting
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._waiting, self._closed = 0, False
        self._log = structlog.get_logger("store")
        self._tasks: set[asyncio.Task[None]] = set()

    async def do(self, what: Callable[[Store], T]) -> T:
        """Runs `what` with the store and returns its result. Raises CannotKeep."""
        if self._closed:
            raise CannotKeep("cannot keep state: the daemon ends")
        return await self._answer(self._hand_in(what))

    def _hand_in(self, what: Callable[[Store], T]) -> asyncio.Future[T]:
        return asyncio.get_running_loop().run_in_executor(self._thread, self._run, what)

    def _run(self, what: Callable[[Store], T]) -> T:
        """On the thread. The work is one transaction: after an error of the file, none of it was done."""
        try:
            return what(self._store)
        except sqlite3.Error as e:
            if not self._store.leave_file(e):
                raise
            self._log.error("the state is kept in memory only", because=self.problem)
            return what(self._store)

    @property
    def problem(self) -> str:
        """Why the state is in memory only, "" while the file has it."""
        found = self._store.trouble
        unread = "; until then no version is chosen by itself, and none is removed" if self.unread else ""
        return f"{found.sentence}{unread}" if found is not None else ""

    @property
    def unread(self) -> bool:
        """Whether there is a file with unknown content: it may name held versions."""
        return self._store.unread

    @property
    def no_room(self) -> bool:
        """Whether the reason is lack of space."""
        found = self._store.trouble
        return found is not None and found.no_room

    async def check(self) -> None:
        """Writes to the file what memory holds, and makes a removed file again. To be called periodically."""
        if self._closed:
            return
        with suppress(CannotKeep):  # logged where it happened
            if done := await self.do(lambda store: store.check()):
                self._log.warning(done)
                self.note("state-kept", "", done)

    async def _answer(self, coming: asyncio.Future[T]) -> T:
        try:
            return await coming
        except (sqlite3.Error, OSError, UnicodeDecodeError) as e:
            self._log.error("cannot keep state", because=str(e))
            raise CannotKeep(f"cannot keep state: {e}; what is served is not affected") from e

    def note(self, kind: str, version: str = "", because: str = "", **detail: Any) -> None:
        """Adds a line of history soon. It is dropped, and logged, when too many lines wait or the store is closed.

        `detail` is kept as it is now: plain values, or structures of the API.
        """
        if self._waiting >= self._most_waiting or self._closed:
            self._log.error("history line dropped", kind=kind, version=version, because=because)
            return
        self._waiting += 1
        now = self._store.clock.wall()  # the time of the event, not of the writing: another event may come before that
        # Handed in here and not in the task: a `do` that follows must not overtake it.
        kept = to_builtins(detail)
        coming = self._hand_in(lambda store: store.record(kind, version, because, happened=now, **kept))
        task = here().start("history", partial(self._report, coming))
        self._tasks.add(task)
        task.add_done_callback(self._kept)

    async def _report(self, coming: asyncio.Future[HistoryEntry]) -> None:
        with suppress(CannotKeep):  # logged where it happened
            self._stored(await self._answer(coming))

    def _kept(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._waiting -= 1

    async def close(self) -> None:
        """Waits for the work under way, then closes the store: CLOSE_SECONDS at most.

        A disk that does not answer keeps the thread: the program must not wait for its threads when it ends.
        """
        self._closed = True
        closing = awaited(self._answer(self._hand_in(lambda store: store.close())), "close the state")
        await asyncio.wait({closing, *self._tasks}, timeout=CLOSE_SECONDS)
        if closing.done():
            closing.exception()  # logged where it happened
        if closing.done() and self.problem:
            self._log.error("what was kept in memory only is lost with the daemon", because=self.problem)
        self._thread.shutdown(wait=False)
