"""A second session of the same model, on the same mapped weights, with more threads: for runs that have the machine
alone.

It is opened when it is first wanted, so a server that is never that quiet does not pay for it. It does not decide when
to use it (see `slots` and `cpu_load`). Invariant: while it is not open, or cannot be opened, the usual session answers,
with the same bits, as was proved when the form was made. Its threads have a lower priority than those that answer other
requests. If another request comes during a lone run, it gets its processor.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from ..sandbox.limits import be_nicer
from ..shared.started import start_thread

NICENESS: Final = 5

M = TypeVar("M")


class Lone(Generic[M]):
    """`open_warm` returns the model and may raise anything. `report` is called with the reason when there is none. For
    any thread.
    """

    def __init__(self, threads: int, open_warm: Callable[[], M], report: Callable[[str], None]) -> None:
        self._threads, self._open, self._report = threads, open_warm, report
        self._begun = threading.Lock()
        self.model: M | None = None

    def threads(self) -> int:
        """How many threads it runs with; 1 while it is not open. The first call starts to open it."""
        if self.model is None:
            self._begin()
            return 1
        return self._threads

    def _begin(self) -> None:
        if not self._begun.acquire(blocking=False):
            return  # for good: after a failure it is not opened again at each request
        try:
            start_thread(f"open {self._threads} threads", self._work)
        except RuntimeError as e:
            self._report(f"cannot use {self._threads} threads for a lone run: {e}; one answers")

    def _work(self) -> None:
        # Threads of the session inherit it, and could not be raised again.
        be_nicer(NICENESS)
        try:
            self.model = self._open()
        except Exception as e:  # noqa: BLE001 - the top of a thread that opens a model of others
            self._report(f"cannot use {self._threads} threads for a lone run: {e}; one answers")
