"""One child process at a time that writes into the artifact root: its task, its end, and what a killed one left there.

It decides nothing: the validation and the compilation have one each. Invariant: `busy` is false before the part that
began the work is called about its end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from structlog.typing import FilteringBoundLogger

from ..config.load import Config
from ..models.unfinished_artifacts import remove_unfinished
from ..system.background import here

NAMES_LOGGED = 10


class ChildWork:
    """`forms`: the child is a compiler, otherwise it is a validator."""

    def __init__(self, config: Callable[[], Config], log: FilteringBoundLogger, *, forms: bool) -> None:
        self._config, self._log, self._forms = config, log, forms
        self._task: asyncio.Task[None] | None = None

    @property
    def root(self) -> Path:
        """The artifact root."""
        return self._config().control.cache_dir / "compiled"

    @property
    def busy(self) -> bool:
        return self._task is not None

    def start(
        self, name: str, work: Callable[[], Coroutine[Any, Any, None]], over: Callable[[asyncio.Task[None]], None]
    ) -> None:
        """Begins `work`; `over` is called when it has ended, in whatever way. Not to be called while busy."""
        self._task = here().start(name, work)

        def ended(task: asyncio.Task[None]) -> None:
            self._task = None
            over(task)

        self._task.add_done_callback(ended)

    async def stop(self) -> None:
        """Ends the work, and returns when it has ended."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def remove_unfinished(self) -> None:
        """Removes what a killed child left; no child may run when this is called."""
        if gone := await asyncio.to_thread(remove_unfinished, self.root, forms=self._forms):
            kind = "forms" if self._forms else "copies"
            self._log.info(f"unfinished {kind} removed", names=gone[:NAMES_LOGGED], count=len(gone))
