"""Keeps the memory of a long-lived process small: few heaps for its few threads, and memory of the start is returned.

Where the C library has no such calls, nothing happens. It never raises.
"""

from __future__ import annotations

import ctypes
import gc
from contextlib import suppress
from typing import Final

_M_ARENA_MAX: Final = -8
HEAPS: Final = 1
"""glibc gives each thread a heap of its own. Threads that mostly sleep only fill them with holes."""


def few_heaps() -> None:
    """Limits the number of heaps. To be called before threads are started."""
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, HEAPS)


def after_start() -> None:
    """Excludes all current objects from garbage collection, and returns free memory to the system."""
    gc.collect()
    gc.freeze()
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
