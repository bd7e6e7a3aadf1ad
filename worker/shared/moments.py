"""Moments as texts: RFC 3339 in UTC, whole seconds, like 2027-01-01T00:00:00Z. Pure.

Only this one form is read, so that what was signed means the same to each reader.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

_FORM: Final = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)Z", re.ASCII)


@lru_cache(maxsize=64)
def moment(text: str) -> float:
    """Wall seconds. Raises ValueError."""
    match = _FORM.fullmatch(text)
    if match is None:
        raise ValueError(f"{text[:40]!r} is not a time like 2027-01-01T00:00:00Z")
    try:
        return datetime(*map(int, match.groups()), tzinfo=UTC).timestamp()  # type: ignore[misc,arg-type]
    except ValueError as e:
        raise ValueError(f"{text[:40]!r} is not a time: there is no such day or hour") from e


def moment_text(wall: float) -> str:
    """The whole second in which a wall time lies. Raises ValueError for one that is not in the years 1 to 9999."""
    try:
        return f"{datetime.fromtimestamp(int(wall), UTC).replace(tzinfo=None).isoformat()}Z"
    except (OverflowError, OSError) as e:
        raise ValueError("there is no such day") from e
