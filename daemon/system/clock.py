"""Time as an argument. Durations come from `monotonic()`; the wall clock is for people and for file ages.

Decisions get their time from here, and tests pass a clock that they set. The event loop's own time, timeouts of waits,
and separate programs (workers, sweeps) read the system's clocks themselves.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """The times that a part may read."""

    def monotonic(self) -> float:
        """Seconds from an arbitrary start; never goes back."""

    def elapsed(self) -> float:
        """Seconds since the boot, suspend included; never goes back."""

    def wall(self) -> float:
        """Seconds since 1970, as files carry them; may jump."""


class SystemClock:
    """The clocks of the machine."""

    def monotonic(self) -> float:
        return time.monotonic()

    def elapsed(self) -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def wall(self) -> float:
        return time.time()


def rfc3339(wall: float) -> str:
    """A wall time for people and JSON: RFC 3339 in UTC, with milliseconds."""
    return datetime.fromtimestamp(wall, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
