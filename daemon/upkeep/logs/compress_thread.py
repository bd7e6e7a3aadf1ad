"""Compresses rotated logs on a thread of its own, one round at a time.

A large archive takes minutes. Rotation, sweeps and readers of logs do not wait for it. A request that comes during a
round is answered by the next round. Invariant: at most one round runs, and none begins after `close`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from ...system.background import here
from .. import syscalls
from .rotation_outcome import RotationOutcome


class Packing:
    """`compress(reopened)` does one round, on the thread. `last` is what the last round reported."""

    def __init__(self, compress: Callable[[bool], RotationOutcome]) -> None:
        self._compress = compress
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="packing", initializer=syscalls.lower_io_priority)
        self._wanted: set[bool] = set()
        self._task: asyncio.Task[None] | None = None
        self.last = RotationOutcome()

    async def request(self, *, reopened: bool, wait_seconds: float) -> None:
        """Starts a round and waits for its end for a limited time. `reopened`: every writer has reopened its log."""
        self._wanted.add(reopened)
        if self._task is None or self._task.done():
            self._task = here().start("packing", self._run)
        await asyncio.wait({self._task}, timeout=wait_seconds)

    def close(self) -> None:
        """Waits for the current round, which the caller has asked to stop."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while self._wanted:
            reopened = any(self._wanted)
            self._wanted.clear()
            self.last = await loop.run_in_executor(self._thread, self._compress, reopened)
