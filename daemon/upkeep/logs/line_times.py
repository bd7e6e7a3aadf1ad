"""When a line of a log was written, as the line itself gives it, and which lines are younger than a given time.

Pure. Known are our own JSON lines (`"time"` first), and lines that begin with a date and time of ISO 8601, in brackets
or not. A time without a zone is UTC. A line without a time belongs to the line before it, as the lines of a traceback
do.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

_LOOK_BYTES: Final = 128
_TIME: Final = re.compile(
    rb'^(?:\{\s*"time"\s*:\s*"|\[)?'
    rb"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:[.,](\d{1,6})\d*)?\s?(Z|[+-]\d\d:?\d\d)?"
)


def time_of(line: bytes) -> float | None:
    """Seconds since 1970; None for a line without a time."""
    found = _TIME.match(line[:_LOOK_BYTES])
    if found is None:
        return None
    date, clock, fraction, zone = (part.decode() if part else "" for part in found.groups())
    zone = "+00:00" if zone in ("", "Z") else zone if ":" in zone else f"{zone[:3]}:{zone[3:]}"
    try:
        moment = datetime.fromisoformat(f"{date}T{clock}.{fraction or '0':0<6}{zone}")
    except ValueError:
        return None
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()


class Since:
    """Which lines of one log were written at `seconds` or later."""

    def __init__(self, seconds: float) -> None:
        self._seconds, self._last = seconds, True

    def keeps(self, line: bytes) -> bool:
        moment = time_of(line)
        if moment is not None:
            self._last = moment >= self._seconds
        return self._last
