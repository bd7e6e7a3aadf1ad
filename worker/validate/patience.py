"""Ends this process with a verdict when judging takes too long.

A run inside ONNX Runtime can't be interrupted from its own thread; another thread still can speak and leave. Invariant:
at most one verdict is said, whoever comes first.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

from .. import protocol
from ..protocol import GateStarted, Judged
from .private import discard

Say = Callable[[protocol.FromValidator], None]


class Patience:
    """Passes messages on to `say`, remembers the gate under way, and gives up after `seconds` (0: never)."""

    def __init__(self, say: Say, seconds: float) -> None:
        self._say = say
        self._seconds = seconds
        self._gate = "sandbox"
        self._ended = False
        self._lock = threading.Lock()

    def say(self, message: protocol.FromValidator) -> None:
        """One message, unless a verdict was given already."""
        with self._lock:
            if self._ended:
                return
            if isinstance(message, GateStarted):
                self._gate = message.gate
            self._ended = isinstance(message, Judged)
            self._say(message)

    def start(self, directory: Path) -> None:
        """Begins to count; giving up removes `directory`. Starts a thread: what needs a single one comes before."""
        if self._seconds <= 0:
            return
        timer = threading.Timer(self._seconds, self._give_up, (directory,))
        timer.daemon = True
        timer.start()

    def _give_up(self, directory: Path) -> None:
        with self._lock:
            if self._ended:
                return
            self._ended = True
            self._say(protocol.GateDone(self._gate, False, self._seconds, because := self._because()))
            discard(directory)
            self._say(Judged(False, because))
            os._exit(0)

    def _because(self) -> str:
        return f"{self._gate} took longer than the {self._seconds:g} s allowed for all gates"
