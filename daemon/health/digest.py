"""The daily message about the state of the daemon, which comes also when all is well: when it is due, and its text.

Pure. A message that was due while the daemon was down is sent up to LATE_SECONDS late; older ones are left out.
Invariant: at most one message for each due time.
"""

from __future__ import annotations

import zoneinfo
from collections.abc import Iterable
from typing import Any, Final

from msgspec import Struct

from ...worker.shared.catalogue import Language, translated, word
from ..config.cron import daily
from ..config.local_times import last_begin, next_begin
from ..units import HOUR, percent, size, span
from .message_text import Text, fit, line

FACT: Final = "alert-digest"
WELL: Final = "all is well"
LATE_SECONDS: Final = 6 * HOUR
LOOK_SECONDS: Final = 6 * HOUR
"""The longest time until the next check: the clock may have been set."""


class DigestDue(Struct, frozen=True):
    """Whether a message is due now, and after how many seconds to check again."""

    now: bool
    seconds: float


def due(at: str, zone: zoneinfo.ZoneInfo | None, sent: float, wall: float) -> DigestDue:
    """`at` is a local time of the day, `sent` when the last one was sent or first thought of, wall seconds."""
    last = last_begin(daily(at), zone, wall, LATE_SECONDS)
    later = next_begin(daily(at), zone, wall)
    return DigestDue(last is not None and last > sent, min(LOOK_SECONDS, (later or wall + LOOK_SECONDS) - wall))


class DayCounts(Struct, frozen=True):
    """What happened in the last `seconds`: since the last digest, or since the daemon started."""

    seconds: float = 0.0
    requests: int = 0
    errors: int = 0
    alerts: int = 0
    rejected: int = 0
    rollouts: int = 0
    removed_bytes: int = 0


class DigestFacts(Struct, frozen=True):
    """The facts of the message. `used_percent` and `free_bytes` are of the fullest disk; `forecast` names the disk that
    will be full first.
    """

    version: str
    ready: int
    workers: int
    mount: str = ""
    used_percent: float | None = None
    free_bytes: int = 0
    forecast: str = ""
    probe: str = ""
    active: tuple[str, ...] = ()
    counts: DayCounts = DayCounts()


def text(facts: DigestFacts, host: str, max_bytes: int, language: Language = "en") -> Text:
    """The message in a language."""
    active = len(facts.active)
    how = f"{active} {word('firing', language)}" if active else translated(WELL, language)
    title = f"[digest] {host}: {how}"
    lines = [translated(line(each), language) for each in _lines(facts)]
    body = fit(lines, max_bytes - len(title.encode()) - 1, language)
    data: dict[str, Any] = {
        "version": "1", "host": host, "severity": "info", "status": "digest", "total": len(facts.active), "alerts": [],
    }  # fmt: skip
    return Text(title, body, "info", data)


def _lines(facts: DigestFacts) -> Iterable[str]:
    counts = facts.counts
    yield f"serving {facts.version}" if facts.version else "nothing is served"
    yield f"{facts.ready} of {facts.workers} workers ready"
    yield f"{counts.requests} requests, {counts.errors} failed, in {span(counts.seconds)}"
    if facts.used_percent is not None:
        yield f"disk {facts.mount}: {percent(facts.used_percent)} used, {size(facts.free_bytes)} free"
    if facts.forecast:
        yield facts.forecast
    if facts.probe:
        yield f"probes: {facts.probe}"
    yield f"alerts: {counts.alerts}; versions rejected: {counts.rejected}; rollouts: {counts.rollouts}"
    if counts.removed_bytes:
        yield f"upkeep removed {size(counts.removed_bytes)}"
    yield from facts.active
