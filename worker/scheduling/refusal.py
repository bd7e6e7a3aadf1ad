"""Decides whether this worker refuses every request, and has done so for some seconds, for readiness, beats and alerts.

One refusal under load does not matter; many without an accepted request between them do. It must not wait. Invariant:
once a request is accepted, the worker no longer counts as refusing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

LASTING_SECONDS: Final = 5.0
OLD_SECONDS: Final = 30.0
"""A refusal as old as this shows nothing about now."""


class Refusing:
    """`others` give further reasons, "" for none."""

    def __init__(self, *others: Callable[[], str], monotonic: Callable[[], float] = time.monotonic) -> None:
        self._others, self._monotonic = others, monotonic
        self._since = self._last = float("-inf")
        self._because = ""

    def refused(self, because: str) -> None:
        """Records that a request was refused for lack of room."""
        now = self._monotonic()
        if not self._because or now - self._last > OLD_SECONDS:
            self._since = now
        self._last, self._because = now, because

    def taken(self) -> None:
        """Records that a request was admitted, whatever its result."""
        self._because = ""

    def because(self) -> str:
        """Why a request would not be answered now; "" when one would be."""
        now = self._monotonic()
        lasting = self._because and now - self._since >= LASTING_SECONDS and now - self._last <= OLD_SECONDS
        return next(filter(None, (other() for other in self._others)), self._because if lasting else "")
