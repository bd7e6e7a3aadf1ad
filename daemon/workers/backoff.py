"""How long to wait before a worker is started again. Pure.

A worker that had served for a while starts again at once; one that keeps dying waits twice as long each time, up to a
minute, with a fifth of jitter so that several do not come back together. It is never given up.
"""

from __future__ import annotations

FIRST_SECONDS = 1.0
LONGEST_SECONDS = 60.0
JITTER = 0.2
SETTLED_SECONDS = 10.0
"""Having served this long, a death is an accident and not a habit."""


def failures_after(failures: int, served_seconds: float) -> int:
    """The count of deaths in a row after one more, `served_seconds` after it became ready (0: it never did)."""
    return 0 if served_seconds >= SETTLED_SECONDS else failures + 1


def delay_seconds(failures: int, chance: float) -> float:
    """Seconds until the next start after `failures` deaths in a row; `chance` in [0, 1) spreads them.

    0, then 1, 2, 4 … 60, each within a fifth.
    """
    if failures <= 0:
        return 0.0
    base = min(LONGEST_SECONDS, FIRST_SECONDS * 2.0 ** min(failures - 1, 30))
    return base * (1.0 - JITTER + 2.0 * JITTER * chance)
