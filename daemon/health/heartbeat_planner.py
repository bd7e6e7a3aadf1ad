"""When the next heartbeat is due, where it goes and what it says: `/fail` while something critical is wrong.

Pure. Times are monotonic seconds. Invariant: what changes from well to failing, or back, is sent at once, but never
sooner than LEAST_SECONDS after the last try.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from msgspec import Struct

LEAST_SECONDS: Final = 10.0
MAX_CHARS: Final = 1000


class Beaten(Struct, frozen=True):
    """The last try: when, to which address, whether it said failing, and why it did not arrive ("" when it did)."""

    at: float
    url: str
    failing: bool
    because: str = ""


def beat_url(url: str, *, failing: bool) -> str:
    """Where a heartbeat goes: services take `/fail` behind the address as "it lives and is not well"."""
    if not failing:
        return url
    parts = urlsplit(url)
    return parts._replace(path=parts.path.rstrip("/") + "/fail").geturl()


def due(last: Beaten | None, url: str, every: float, *, failing: bool) -> float:
    """When the next one is to be sent; in the past for at once."""
    if last is None or last.url != url:
        return float("-inf")
    return last.at + (LEAST_SECONDS if last.failing != failing else every)


def words(host: str, version: str, critical: Iterable[str]) -> str:
    """What is posted: services show it."""
    lines = list(critical)
    said = "\n".join(lines) if lines else f"serving {version}" if version else "nothing is served yet"
    return f"{host}: {said}"[:MAX_CHARS]
