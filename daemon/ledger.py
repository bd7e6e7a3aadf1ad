"""The store, on a thread of its own: a slow disk delays a note, never the event loop.

`note` is for what happened and goes on by itself, in order; `do` is for what must be on the disk before somebody is
told so. Invariant: everything reaches the store in the order it was said, from one thread.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import structlog

from .errors import ModelwardError
from .store import Entry, Store

T = TypeVar("T")
MAX_WAITING = 1000
CLOSE_SECONDS = 5.0
"""How long the end of the daemon waits for a disk that does not answer."""


class CannotKeep(ModelwardError):
    """The state could not be written or read."""


class Ledger:
    """See the module. `told` hears of each line of history once it is kept."""

    def __init__(self, store: Store, told: Callable[[Entry], None], *, most_waiting: int = MAX_WAITING) -> None:
        self._store, self._told, self._most_waiting = store, told, most_waiting
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._waiting, self._closed = 0, False
        self._log = structlog.get_logger("store")
        self._tasks: set[asyncio.Task[None]] = set()

    async def do(self, what: Callable[[Store], T]) -> T:
        """Runs `what` with the store and gives its answer. Raises CannotKeep."""
        if self._closed:
            raise CannotKeep("cannot keep state: the daemon ends")
        return await self._answer(self._hand_in(what))

    def _hand_in(self, what: Callable[[Store], T]) -> asyncio.Future[T]:
        return asyncio.get_running_loop().run_in_executor(self._thread, what, self._store)

    async def _answer(self, coming: asyncio.Future[T]) -> T:
        try:
            return await coming
        except (sqlite3.Error, OSError, UnicodeDecodeError) as e:
            self._log.error("cannot keep state", because=str(e))
            raise CannotKeep(f"cannot keep state: {e}; what is served is not affected") from e

    def note(self, kind: str, version: str = "", because: str = "", **detail: Any) -> None:
        """Adds a line of history soon. Dropped, and said, when the disk is a thousand lines behind, or this closed."""
        if self._waiting >= self._most_waiting or self._closed:
            self._log.error("history line dropped", kind=kind, version=version, because=because)
            return
        self._waiting += 1
        now = self._store.clock.wall()  # not when it is written: that may be after the next thing happened
        # Handed in here and not in the task: a `do` that follows must not overtake it.
        coming = self._hand_in(lambda store: store.record(kind, version, because, happened=now, **detail))
        task = asyncio.get_running_loop().create_task(self._tell(coming))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _tell(self, coming: asyncio.Future[Entry]) -> None:
        try:
            self._told(await self._answer(coming))
        except CannotKeep:
            return  # logged where it happened
        finally:
            self._waiting -= 1

    async def close(self) -> None:
        """Waits for what is on its way, then closes the store; a disk that does not answer is left behind."""
        self._closed = True
        closing = asyncio.ensure_future(self._answer(self._hand_in(lambda store: store.close())))
        await asyncio.wait({closing, *self._tasks}, timeout=CLOSE_SECONDS)
        if closing.done():
            closing.exception()  # logged where it happened
        self._thread.shutdown(wait=False)
