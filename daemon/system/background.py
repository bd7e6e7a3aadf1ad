"""Starts the daemon's tasks and threads, and ends its process. No other module does that.

A task that ends by an exception of any type is logged and recorded as a failure of its part. On request it is started
again after a pause. This module does not decide what a task does. Each event loop has one `Background`, so a part
cannot start a task beside it. Invariant: no exception of a task, a callback or a thread is lost, and none ends more
than its own task, callback or thread.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import closing, suppress
from functools import partial
from math import inf
from typing import Any, Final, NoReturn, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

from ...worker.shared.started import awaited, start_thread
from .clock import Clock, SystemClock
from .failures import SHOWN_SECONDS, Failures

PROVED_SECONDS: Final = 10.0
"""A task that was started again counts as working after it has run for this time."""
READER: Final = "reader of "
"""The prefix of the names of readers, for `fault`."""
T = TypeVar("T")
P = ParamSpec("P")
_of_loops: WeakKeyDictionary[asyncio.AbstractEventLoop, Background] = WeakKeyDictionary()


class Background:
    """See the module. `happened` is called when a part begins to fail, and when it works again.

    `fault` is called with the name of each task, callback or thread before it runs, so that tests can make it raise.
    `sleep` waits for a time in seconds; `shown_seconds`: see failures.SHOWN_SECONDS.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        happened: Callable[[], None] = lambda: None,
        fault: Callable[[str], None] = lambda name: None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        shown_seconds: float = SHOWN_SECONDS,
    ) -> None:
        self.fault, self._sleep = fault, sleep
        self.failures = Failures(clock, happened, shown_seconds)
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._tasks: set[asyncio.Task[Any]] = set()

    def install(self) -> None:
        """Makes this the Background of its loop, and records what callbacks of the loop raise."""
        _of_loops[self._loop] = self
        self._loop.set_exception_handler(self._callback_failed)

    def start(
        self,
        name: str,
        factory: Callable[[], Coroutine[Any, Any, None]],
        *,
        restart: bool = False,
        proved_seconds: float = PROVED_SECONDS,
    ) -> asyncio.Task[None]:
        """Runs what `factory` makes, under the name of its part. Only `cancel` ends it.

        An exception is recorded. With `restart` the task is made and run again after a pause, until it returns. It
        counts as working again once it has run for `proved_seconds` (inf: once it calls `works`).
        """
        task = self._loop.create_task(self._run(name, factory, restart, proved_seconds), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _run(
        self, name: str, factory: Callable[[], Coroutine[Any, Any, None]], restart: bool, proved_seconds: float
    ) -> None:
        lasts = proved_seconds if restart else self.failures.shown_seconds
        while (pause := await self.attempt(name, factory, lasts_seconds=lasts)) and restart:
            await self._sleep(pause)

    async def attempt(
        self, name: str, factory: Callable[[], Coroutine[Any, Any, None]], *, lasts_seconds: float = inf
    ) -> float:
        """Awaits what `factory` makes. Returns 0 when it returned, else the seconds until the next try.

        Raises CancelledError only when this very task is cancelled.
        """
        try:
            self.fault(name)
            await factory()
        except asyncio.CancelledError as e:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            return self.failures.failed(name, e, lasts_seconds=lasts_seconds)  # of a task that it awaited
        except BaseException as e:  # noqa: BLE001 - the root of a task: whatever it is, it ends this part alone
            return self.failures.failed(name, e, lasts_seconds=lasts_seconds)
        return 0.0

    def call(self, name: str, work: Callable[[], T], otherwise: T, *, lasts_seconds: float = inf) -> T:
        """The result of `work`, or `otherwise` when it raises. From any thread."""
        try:
            self.fault(name)
            result = work()
        except BaseException as e:  # noqa: BLE001 - the root of a callback or of a thread
            self._on_loop(partial(self.failures.failed, name, e, lasts_seconds=lasts_seconds))
            return otherwise
        if lasts_seconds == inf:
            self.works(name)
        return result

    def guarded(self, name: str, work: Callable[P, object]) -> Callable[P, None]:
        """`work` as a callback that raises nothing. An exception is recorded, and counts for SHOWN_SECONDS."""

        def callback(*args: P.args, **kwargs: P.kwargs) -> None:
            self.call(name, partial(work, *args, **kwargs), None, lasts_seconds=self.failures.shown_seconds)

        return callback

    def works(self, name: str) -> None:
        """Records that the part works. From any thread."""
        if self.failures.failing(name):
            self._on_loop(partial(self.failures.works, name))

    def thread_failed(self, name: str, error: BaseException) -> None:
        """Records what ended a thread. From any thread."""
        self._on_loop(partial(self.failures.failed, f"thread {name}", error, lasts_seconds=self.failures.shown_seconds))

    def _on_loop(self, record: Callable[[], object]) -> None:
        if threading.get_ident() == self._thread:
            record()
            return
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(record)

    def _callback_failed(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        message = str(context.get("message", "the event loop reported a fault"))
        if not isinstance(error, BaseException):
            error = RuntimeError(message)
        name = origin(error) or message.removeprefix("Exception in callback ").partition("(")[0]
        self.failures.failed(name, error, lasts_seconds=self.failures.shown_seconds)

    def end(self) -> None:
        """Cancels every task that was started here."""
        for task in tuple(self._tasks):
            task.cancel()


def here() -> Background:
    """The Background of the running loop. It is made when none was installed."""
    loop = asyncio.get_running_loop()
    if (found := _of_loops.get(loop)) is None:
        found = _of_loops[loop] = Background(SystemClock())
    return found


def reader(work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
    """Like `awaited`, for work that reads what another process writes. SystemExit would end the loop, so it becomes an
    error.
    """
    return awaited(_reading(work, name), name)


async def _reading(work: Coroutine[Any, Any, T], name: str) -> T:
    with closing(work):
        try:
            here().fault(f"{READER}{name}")
            return await work
        except (SystemExit, KeyboardInterrupt) as e:
            raise RuntimeError(f"{type(e).__name__} in {name}") from e


def record_thread_failures(background: Background) -> None:
    """From now on records every exception that ends a thread of this process, also in threads of other packages."""

    def hook(given: threading.ExceptHookArgs) -> None:
        error = given.exc_value or RuntimeError(given.exc_type.__name__)
        background.thread_failed(given.thread.name if given.thread is not None else "", error)

    threading.excepthook = hook


def origin(error: BaseException) -> str:
    """Our first module that an exception passed through, below `modelward.daemon`; "" for none."""
    trace = error.__traceback__
    while trace is not None:
        module = str(trace.tb_frame.f_globals.get("__name__", ""))
        if module.startswith("modelward.daemon.") and module != __name__:
            return module.removeprefix("modelward.daemon.")
        trace = trace.tb_next
    return ""


def end_within(seconds: float, status: int) -> threading.Event:
    """Ends the process after this time, whatever it waits for, unless the returned event is set before.

    A thread of its own does it, because the event loop may hang too.
    """
    over = threading.Event()

    def end() -> None:
        if not over.wait(seconds):
            os._exit(status or 1)

    start_thread("last resort", end)
    return over


def end_process(status: int) -> NoReturn:
    """Ends the process at once. Python itself would wait for a thread that waits for a disk."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):  # closed, or not read
            stream.flush()
    os._exit(status)
