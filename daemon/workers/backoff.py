"""Decides how long to wait before a worker is started again. Pure.

A worker that had served for a while starts again at once. For a worker that keeps dying, each wait is twice the last
one, up to a minute. A fifth of jitter keeps several workers from starting together. The daemon never gives up.
"""

from __future__ import annotations

FIRST_SECONDS = 1.0
LONGEST_SECONDS = 60.0
JITTER = 0.2
SETTLED_SECONDS = 10.0
"""After this time of service, one death does not count as a series."""


def failures_after(failures: int, served_seconds: float) -> int:
    """The number of deaths in a row after one more. The worker died `served_seconds` after it became ready (0: it never
    did).
    """
    return 0 if served_seconds >= SETTLED_SECONDS else failures + 1


def delay_seconds(failures: int, chance: float) -> float:
    """Seconds until the next start after `failures` deaths in a row: 0, then 1, 2, 4 … 60.

    `chance` in [0, 1) changes each by up to a fifth.
    """
    if failures <= 0:
        return 0.0
    base = min(LONGEST_SECONDS, FIRST_SECONDS * 2.0 ** min(failures - 1, 30))
    return base * (1.0 - JITTER + 2.0 * JITTER * chance)
