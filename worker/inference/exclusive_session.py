"""The same model once more, on the same mapped weights, with more threads: for runs that have the machine alone.

Opened beside, when it is first wanted: a server that is never that quiet never pays for it. Decides nothing about when
(see `slots` and `idle`). Invariant: while it is not open, or can't be, the usual one answers, with the same bits; that
they are the same was proved when the form was made. Its threads rank behind those that answer others: should somebody
else come while a lone run goes on, he gets his processor.
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
    """`open_warm` gives the model and may raise anything; `say` hears why there is none. Any thread may call."""

    def __init__(self, threads: int, open_warm: Callable[[], M], say: Callable[[str], None]) -> None:
        self._threads, self._open, self._say = threads, open_warm, say
        self._begun = threading.Lock()
        self.model: M | None = None

    def threads(self) -> int:
        """How many it runs with; 1 while there is none. The first call begins to open it."""
        if self.model is None:
            self._begin()
            return 1
        return self._threads

    def _begin(self) -> None:
        if not self._begun.acquire(blocking=False):
            return  # for good: what could not be opened once is not tried at each request
        try:
            start_thread(f"open {self._threads} threads", self._work)
        except RuntimeError as e:
            self._say(f"cannot use {self._threads} threads for a lone run: {e}; one answers")

    def _work(self) -> None:
        # Threads of the session inherit it, and could not be raised again.
        be_nicer(NICENESS)
        try:
            self.model = self._open()
        except Exception as e:  # noqa: BLE001 - the top of a thread that opens what somebody else made
            self._say(f"cannot use {self._threads} threads for a lone run: {e}; one answers")
