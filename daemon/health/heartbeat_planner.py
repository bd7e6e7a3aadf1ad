"""Decides when the next heartbeat is due and to which address: with `/fail` while a critical alert fires.

Pure. Times are monotonic seconds. Invariant: a change between well and failing is sent at once, but not sooner than
LEAST_SECONDS after the last attempt.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from msgspec import Struct

LEAST_SECONDS: Final = 10.0
RETRY_SECONDS: Final = 30.0
"""Until a failure that did not arrive is sent again."""
MAX_CHARS: Final = 1000


class Beaten(Struct, frozen=True):
    """The last attempt: its time, its address, whether it reported a failure, and why it did not arrive ("" when it
    did).
    """

    at: float
    url: str
    failing: bool
    because: str = ""


def beat_url(url: str, *, failing: bool) -> str:
    """The address of a heartbeat. Services understand `/fail` after it as "it runs, and something is wrong"."""
    if not failing:
        return url
    parts = urlsplit(url)
    return parts._replace(path=parts.path.rstrip("/") + "/fail").geturl()


def due(last: Beaten | None, url: str, every: float, *, failing: bool) -> float:
    """When to send the next one; in the past for "at once"."""
    if last is None or last.url != url:
        return float("-inf")
    if last.failing != failing:
        return last.at + LEAST_SECONDS
    return last.at + (min(every, RETRY_SECONDS) if failing and last.because else every)


def words(host: str, version: str, critical: Iterable[str]) -> str:
    """The text that is posted; services show it."""
    lines = list(critical)
    said = "\n".join(lines) if lines else f"serving {version}" if version else "nothing is served yet"
    return f"{host}: {said}"[:MAX_CHARS]
