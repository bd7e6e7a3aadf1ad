"""Reads what a server answers, as long as it does not come too slowly.

A timeout of a socket bounds one read only: a server that sends a byte now and then holds a reader for days. Here the
whole has a time, and each minute a least number of bytes. Blocks. Raises SlowAnswer, and TimeoutError for silence.
"""

from __future__ import annotations

import io
import socket
from typing import Any, Final

from .clock import Clock

STILL_SECONDS: Final = 60.0
STILL_BYTES: Final = 4096
"""A server that sends less than so much in STILL_SECONDS makes no progress."""


class SlowAnswer(TimeoutError):
    """Too little came in the time."""


class SteadyReads(io.RawIOBase):
    """What comes over a socket. The whole has to be there in `whole_seconds`, until `allow` gives it another time."""

    def __init__(self, connection: socket.socket, clock: Clock, silent_seconds: float, whole_seconds: float) -> None:
        self._socket, self._clock, self._silent_seconds = connection, clock, silent_seconds
        self._raw = connection.makefile("rb", buffering=0)
        self._since, self._came = clock.monotonic(), 0
        self._until = self._since + whole_seconds

    def allow(self, whole_seconds: float) -> None:
        """From now on so much time is left for the whole."""
        self._since, self._came = self._clock.monotonic(), 0
        self._until = self._since + whole_seconds

    def makefile(self, mode: str) -> io.BufferedReader:
        """As http.client opens a socket."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        now = self._clock.monotonic()
        if now - self._since >= STILL_SECONDS:
            if self._came < STILL_BYTES:
                raise SlowAnswer(f"it sent {self._came} bytes in {now - self._since:.0f} s")
            self._since, self._came = now, 0
        if now >= self._until:
            raise SlowAnswer("it did not end in time")
        self._socket.settimeout(min(self._silent_seconds, self._until - now))
        count = self._raw.readinto(buffer)
        self._came += count or 0
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()
