"""Decides how long to wait before the next attempt at something that failed: longer after each failure in a row.

Pure: times are arguments, in monotonic seconds. The number of records is limited; the one that failed longest ago is
dropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

MOST: Final = 200


class Attempts:
    """See the module. After the n-th failure in a row the n-th pause counts; after the last pause, that one again."""

    def __init__(self, pauses_seconds: Sequence[float], most: int = MOST) -> None:
        self._pauses, self._most = pauses_seconds, most
        self._failed: dict[str, tuple[int, float]] = {}

    def failed(self, thing: str, now: float) -> None:
        """Records a failure; the pause begins now."""
        count, _ = self._failed.pop(thing, (0, 0.0))
        self._failed[thing] = (count + 1, now + self._pauses[min(count, len(self._pauses) - 1)])
        while len(self._failed) > self._most:
            del self._failed[next(iter(self._failed))]

    def waits(self, thing: str, now: float) -> bool:
        """Whether it is too early for another attempt."""
        return now < self._failed.get(thing, (0, 0.0))[1]

    def succeeded(self, thing: str) -> None:
        """Records a success; the next failure counts as the first."""
        self._failed.pop(thing, None)
