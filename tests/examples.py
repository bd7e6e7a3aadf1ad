"""How many inputs a property is tried with: few in each run of the tests, many in the deep run.

The few are the same each time (tests/conftest.py): they find what a change breaks. The deep run (`make fuzz`) tries
others, and finds what no one thought of.
"""

from __future__ import annotations

import os
from typing import Final

DEEP: Final = os.environ.get("MODELWARD_FUZZ") == "deep"
DEEP_TIMES: Final = 8
QUICK_SHARE: Final = 4


def examples(count: int, quick_share: int = QUICK_SHARE) -> int:
    """A part of `count` in each run of the tests, eight times as many in a round of the deep run."""
    return count * DEEP_TIMES if DEEP else max(2, count // quick_share)
