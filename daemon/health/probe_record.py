"""The job and the answer of a probe, and the record of the probes: counts, failures in a row, response times.

Pure. A probe never counts against a version: none is sent during a rollout, and no other part reads this record.
"""

from __future__ import annotations

from collections import deque
from math import ceil
from typing import Final

from msgspec import Struct, field

from ..answers.status import LastProbe, ProbeReport
from ..system.clock import rfc3339
from .alerts import Figure

KEPT: Final = 60
"""Durations for the 95th percentile."""


class ProbeJob(Struct, frozen=True):
    """`directories` are searched in order for NAME.wav with NAME.txt, unless `clip` is given."""

    host: str
    port: int
    seconds: float
    max_error_rate: float
    clip: str = ""
    text: str = ""
    directories: tuple[str, ...] = ()
    token_file: str = ""


class ProbeAnswer(Struct, frozen=True):
    """`off` is why no clip could be sent; `because` is why it failed, "" when it passed. `expected` is the text of
    `clip`, `got` the text that came back.
    """

    off: str = ""
    because: str = ""
    seconds: float = 0.0
    version: str = ""
    clip: str = ""
    expected: str = ""
    got: str = ""


class ProbeRecord(Struct):
    """`off` is why no probes are sent, "" while they are. `because` is the reason of the last failure in a row,
    `failing_since` the time of the first one. Times are wall seconds.
    """

    off: str = ""
    passed: int = 0
    failed: int = 0
    in_a_row: int = 0
    because: str = ""
    version: str = ""
    failing_since: float = 0.0
    last: ProbeAnswer | None = None
    last_at: float = 0.0
    seconds: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT))

    def turn_off(self, off: str) -> None:
        """None is meant to be sent: what failed before counts no more."""
        self.off, self.in_a_row, self.because = off, 0, ""

    def add(self, answer: ProbeAnswer, wall: float) -> None:
        """One probe ended. One that could not be sent (no clip, no token, a disk) leaves what is known as it is."""
        self.off = answer.off
        if answer.off:
            return
        self.version, self.last, self.last_at = answer.version, answer, wall
        if answer.because:
            if not self.in_a_row:
                self.failing_since = wall
            self.failed, self.in_a_row, self.because = self.failed + 1, self.in_a_row + 1, answer.because
            return
        self.passed, self.in_a_row, self.because = self.passed + 1, 0, ""
        self.seconds.append(answer.seconds)

    @property
    def p95_seconds(self) -> float | None:
        """Of the last probes that passed; None before the first."""
        found = sorted(self.seconds)
        return found[ceil(0.95 * len(found)) - 1] if found else None

    def figure(self, failures: int) -> list[Figure]:
        """The figure of the alert after that many failures in a row; afterwards, the text of how it ended."""
        if self.in_a_row >= failures:
            return [Figure("probe_failed", 1.0, "", f"{self.in_a_row} in a row: {self.because}")]
        if self.off or not (self.passed or self.failed):
            return []
        return [Figure("probe_failed", 0.0, "", "" if self.in_a_row else "the right text came back")]

    def report(self, *, configured: bool) -> ProbeReport:
        """For the status."""
        since, last, shown = self.failing_since if self.in_a_row else 0.0, self.last, None
        if last is not None:
            moment, passed = rfc3339(self.last_at), not last.because
            shown = LastProbe(moment, passed, last.seconds, last.version, last.clip, last.expected, last.got)
        return ProbeReport(
            self.off,
            self.passed,
            self.failed,
            self.in_a_row,
            self.because,
            self.p95_seconds,
            configured,
            rfc3339(since) if since else "",
            shown,
        )
