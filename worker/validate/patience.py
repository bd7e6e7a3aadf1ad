"""Ends this process with a verdict when judging takes too long.

A run inside ONNX Runtime can't be interrupted from its own thread; another thread still can speak and leave. Invariant:
at most one verdict is said, whoever comes first.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Final

from .. import protocol
from ..protocol import GateDone, GateStarted, Judged
from .private import discard

Say = Callable[[protocol.FromValidator], None]


APART: Final = "compile"
"""The one gate with a time of its own, as long again: making a version faster takes nothing from judging it."""


class Patience:
    """Passes messages on to `say`, remembers the gate under way, and gives up after `seconds` (0: never)."""

    def __init__(self, say: Say, seconds: float) -> None:
        self._say = say
        self._seconds = seconds
        self._gate = "sandbox"
        self._ended = False
        self._lock = threading.Lock()
        self._directory = Path()
        self._timer: threading.Timer | None = None
        self._left, self._since = seconds, 0.0

    def say(self, message: protocol.FromValidator) -> None:
        """One message, unless a verdict was given already."""
        with self._lock:
            if self._ended:
                return
            if isinstance(message, GateStarted):
                self._gate = message.gate
            self._ended = isinstance(message, Judged)
            self._say(message)
        if self._timer is not None and isinstance(message, GateStarted | GateDone) and message.gate == APART:
            self._switch(begins=isinstance(message, GateStarted))

    def start(self, directory: Path) -> None:
        """Begins to count; giving up removes `directory`. Starts a thread: what needs a single one comes before."""
        self._directory = directory
        if self._seconds > 0:
            self._count(self._seconds)

    def _switch(self, *, begins: bool) -> None:
        """The gate that has a time of its own begins or ends."""
        if begins:
            self._left -= perf_counter() - self._since
        self._count(self._seconds if begins else max(0.0, self._left))

    def _count(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._since = perf_counter()
        self._timer = threading.Timer(seconds, self._give_up)
        self._timer.daemon = True
        self._timer.start()

    def _give_up(self) -> None:
        with self._lock:
            if self._ended:
                return
            self._ended = True
            self._say(GateDone(self._gate, False, self._seconds, because := self._because()))
            discard(self._directory)
            self._say(Judged(False, because))
            os._exit(0)

    def _because(self) -> str:
        what = "it" if self._gate == APART else "all gates"
        return f"{self._gate} took longer than the {self._seconds:g} s allowed for {what}"
