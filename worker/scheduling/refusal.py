"""Whether this worker refuses every request, and has for some seconds: what readiness, beats and alerts go by.

One refusal under load is no matter; many with no request taken between them are. Must not wait. Invariant: once a
request is taken, nothing is refused any more.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

LASTING_SECONDS: Final = 5.0
OLD_SECONDS: Final = 30.0
"""A refusal as old as this says nothing of now."""


class Refusing:
    """`others` give further reasons, "" for none."""

    def __init__(self, *others: Callable[[], str], monotonic: Callable[[], float] = time.monotonic) -> None:
        self._others, self._monotonic = others, monotonic
        self._since = self._last = float("-inf")
        self._because = ""

    def refused(self, because: str) -> None:
        """A request was refused for want of room."""
        now = self._monotonic()
        if not self._because or now - self._last > OLD_SECONDS:
            self._since = now
        self._last, self._because = now, because

    def taken(self) -> None:
        """A request was let in, whatever became of it."""
        self._because = ""

    def because(self) -> str:
        """Why a request would not be answered now; "" when one would be."""
        now = self._monotonic()
        lasting = self._because and now - self._since >= LASTING_SECONDS and now - self._last <= OLD_SECONDS
        return next(filter(None, (other() for other in self._others)), self._because if lasting else "")
