"""Threads for the model: each job begins at once, in a free thread or in a new one.

It bounds nothing itself: there are as many threads as there were jobs at one time, and `slots` bounds those. Invariant:
the end of a job is reported once, on the event loop, even when its result is not awaited any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, TypeVar

from msgspec import Struct

from ..sandbox.limits import be_nicer
from ..shared.started import start_thread

T = TypeVar("T")


class _Job(Struct, frozen=True, eq=False):
    run: Callable[[], Any]
    over: Callable[[], None]
    answer: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop


class Lanes:
    """All methods belong to the event loop. `name` is the name of the threads, which have this niceness relative to the
    process.
    """

    def __init__(self, name: str, niceness: int = 0) -> None:
        self._name, self._niceness = name, niceness
        self._jobs: SimpleQueue[_Job] = SimpleQueue()
        self._busy = self._threads = 0

    def start(self, run: Callable[[], T], over: Callable[[], None]) -> asyncio.Future[T]:
        """Runs it beside the event loop; returns the result. `over` is called at its end, before the result can be
        read.

        Raises RuntimeError when no thread can be had at all; then `over` has been called too.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()
        self._busy += 1
        if self._busy > self._threads:
            self._add_thread(over)
        self._jobs.put(_Job(run, over, answer, loop))
        return answer

    def _add_thread(self, over: Callable[[], None]) -> None:
        try:
            start_thread(f"{self._name} {self._threads + 1}", self._work)
        except RuntimeError:
            if not self._threads:
                self._busy -= 1
                over()
                raise
            return  # the system allows no more: the existing threads do it one after the other
        self._threads += 1

    def _work(self) -> None:
        if self._niceness:
            be_nicer(self._niceness)
        while True:
            job = self._jobs.get()
            result, error = None, None
            try:
                result = job.run()
            except Exception as e:  # noqa: BLE001 - the top of a thread; the caller gets it
                error = e
            with suppress(RuntimeError):  # the loop is closed: the process ends
                job.loop.call_soon_threadsafe(self._ended, job, result, error)
            del job, result, error  # otherwise they live until the next job comes

    def _ended(self, job: _Job, result: Any, error: Exception | None) -> None:
        self._busy -= 1
        job.over()
        if job.answer.cancelled():
            return
        if error is not None:
            job.answer.set_exception(error)
        else:
            job.answer.set_result(result)
