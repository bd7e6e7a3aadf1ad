"""Ends this process with a verdict when the validation uses up its time.

Time is what `worker.shared.progress` counts: CPU time, and time without progress. A run inside ONNX Runtime cannot be
interrupted from its own thread. Another thread can give the verdict and end the process. Invariant: at most one verdict
is sent, whichever thread is first.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Final

from .. import child_protocol
from ..child_protocol import GateDone, GateStarted, Judged
from ..shared import process_readings
from ..shared.progress import (
    Allowance,
    LimitReached,
    ProcessReading,
    after,
    begin,
    over,
)

Send = Callable[[child_protocol.FromValidator], None]
LOOKS: Final = 20
"""The number of readings in the shortest time that is allowed without progress."""
LONGEST_SECONDS: Final = 1.0
SHORTEST_SECONDS: Final = 0.05


class Patience:
    """Passes messages on to `send`, keeps the current gate, and gives up when the allowance is used up."""

    def __init__(self, send: Send, allowance: Allowance) -> None:
        self._send = send
        self._allowance = allowance
        self._gate = "sandbox"
        self._ended = False
        self._lock = threading.Lock()
        self._stopped = threading.Event()

    def send(self, message: child_protocol.FromValidator) -> None:
        """Sends one message, unless a verdict was sent already."""
        with self._lock:
            if self._ended:
                return
            if isinstance(message, GateStarted):
                self._gate = message.gate
            self._ended = isinstance(message, Judged)
            self._send(message)

    def start(self) -> None:
        """Starts to count. It starts a thread: whatever needs a single-threaded process must come before."""
        if self._allowance.still_seconds > 0:
            threading.Thread(target=self._watch, name="patience", daemon=True).start()

    def _watch(self) -> None:
        period = min(LONGEST_SECONDS, max(SHORTEST_SECONDS, self._allowance.still_seconds / LOOKS))
        first = self._read()
        if first is None:  # nothing can be read: the daemon's own watch must be enough
            return
        spent = begin(first)
        while not self._stopped.wait(period):
            if (reading := self._read()) is None:
                continue
            spent = after(spent, reading, 3 * period)
            if end := over(spent, self._allowance):
                self._give_up(end, spent.seconds)
                return

    def _read(self) -> ProcessReading | None:
        return process_readings.read(os.getpid(), without=threading.get_native_id())

    def _give_up(self, end: LimitReached, seconds: float) -> None:
        with self._lock:
            if self._ended:
                return
            self._ended = True
            because = f"{self._gate} took too long: {end.because}"
            self._send(GateDone(self._gate, False, round(seconds, 4), because))
            self._send(Judged(False, because, hindered=not end.own))
            os._exit(0)
