"""Starts the worker's tasks and threads. No other module does that.

A task that ends by an exception of any type is logged. The part that started it decides what follows. It is started
again after a pause, where a worker can do without it for a moment. Or `failed` is called, which makes up for the task.
The worker ends only for its control loop, which nothing else could replace; then the daemon starts another worker.
Invariant: no exception of a task is lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

import structlog

PAUSES_SECONDS: Final = (1.0, 2.0, 5.0, 15.0)
"""The pause before a failed task is started again; the last one holds for every further failure."""
MAX_REASON: Final = 300
T = TypeVar("T")


class WorkerTasks:
    """See the module."""

    def __init__(self, log: structlog.typing.FilteringBoundLogger) -> None:
        self._log = log
        self._tasks: set[asyncio.Task[None]] = set()

    def start(
        self,
        name: str,
        factory: Callable[[], Coroutine[Any, Any, None]],
        *,
        restart: bool = False,
        failed: Callable[[str], None] = lambda because: None,
    ) -> asyncio.Task[None]:
        """Runs what `factory` makes. Only `cancel` ends it. `failed` is called with the exception in one line."""
        task = asyncio.get_running_loop().create_task(self._run(name, factory, restart, failed), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _run(
        self,
        name: str,
        factory: Callable[[], Coroutine[Any, Any, None]],
        restart: bool,
        failed: Callable[[str], None],
    ) -> None:
        failures = 0
        while True:
            try:
                await factory()
                return
            except asyncio.CancelledError:
                raise
            except Exception as e:  # noqa: BLE001 - the root of a task
                self._log.exception("a task of the worker failed", task=name)
                failed(f"{type(e).__name__}: {e}"[:MAX_REASON])
            if not restart:
                return
            await asyncio.sleep(PAUSES_SECONDS[min(failures, len(PAUSES_SECONDS) - 1)])
            failures += 1
