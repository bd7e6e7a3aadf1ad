"""Browsers that are logged in: random cookies that belong to a token, in memory.

A session ends with its token, after IDLE_SECONDS without use, after MAX_SECONDS in any case, and with the daemon.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import Final

from msgspec import Struct

IDLE_SECONDS: Final = 12 * 3600.0
MAX_SECONDS: Final = 7 * 86400.0
MAX_SESSIONS: Final = 1000


class _Session(Struct):
    mark: str
    began: float
    used: float


class Sessions:
    """See the module. Times are monotonic seconds; of the cookie only its SHA-256 is kept."""

    def __init__(self) -> None:
        self._open: dict[str, _Session] = {}

    def open(self, mark: str, now: float) -> str:
        """A new session for the token with this mark: the cookie's value."""
        while len(self._open) >= MAX_SESSIONS:
            del self._open[min(self._open, key=lambda key: self._open[key].used)]
        value = secrets.token_urlsafe(32)
        self._open[_key(value)] = _Session(mark, now, now)
        return value

    def mark(self, value: str, now: float) -> str:
        """The mark of the session's token, "" when there is no such session (any more)."""
        session = self._open.get(_key(value))
        if session is None:
            return ""
        if now - session.used > IDLE_SECONDS or now - session.began > MAX_SECONDS:
            self.close(value)
            return ""
        session.used = now
        return session.mark

    def close(self, value: str) -> None:
        self._open.pop(_key(value), None)


def _key(value: str) -> str:
    return hashlib.sha256(value.encode("utf-8", "replace")).hexdigest()
