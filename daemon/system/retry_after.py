"""Reads a Retry-After header (RFC 9110, 10.2.3): a number of seconds, or a date. Pure."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import Final

LONGEST_SECONDS: Final = 3600.0


def retry_after(text: str, wall: float) -> float:
    """Seconds from `wall`; 0 for a header that is absent or cannot be read."""
    text = text.strip()
    if text.isascii() and text.isdigit() and len(text) < 10:
        return min(float(text), LONGEST_SECONDS)
    try:
        return min(max(0.0, parsedate_to_datetime(text).timestamp() - wall), LONGEST_SECONDS)
    except (ValueError, TypeError, OverflowError):
        return 0.0
