"""Codes that log one browser in: each works once, for a short time, and is in memory only.

A code belongs to a token of the file, so its session ends with that token. Only the SHA-256 of a code is kept. At most
MAX_LINKS are open; the oldest is dropped.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import Final

LINK_SECONDS: Final = 600.0
MAX_LINKS: Final = 32


class Links:
    """See the module. Times are monotonic seconds; a mark identifies a token in memory."""

    def __init__(self) -> None:
        self._open: dict[str, tuple[str, float]] = {}

    def make(self, mark: str, now: float) -> str:
        """A new code for the token with this mark."""
        while len(self._open) >= MAX_LINKS:
            del self._open[next(iter(self._open))]
        code = secrets.token_urlsafe(32)
        self._open[_key(code)] = (mark, now)
        return code

    def use(self, code: str, now: float) -> str:
        """The mark of the code's token, "" when the code is not known, used or too old."""
        mark, made = self._open.pop(_key(code), ("", now))
        return mark if now - made <= LINK_SECONDS else ""


def _key(code: str) -> str:
    return hashlib.sha256(code.encode("utf-8", "replace")).hexdigest()
