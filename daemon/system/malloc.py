"""Keeps a process that lives for months small: few heaps for its few threads, and what the start used given back.

Where the C library has no such calls, nothing happens. Never raises.
"""

from __future__ import annotations

import ctypes
import gc
from contextlib import suppress
from typing import Final

_M_ARENA_MAX: Final = -8
HEAPS: Final = 1
"""glibc gives each thread a heap of its own; threads that mostly sleep only fill them with holes."""


def few_heaps() -> None:
    """To be called before threads are started."""
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, HEAPS)


def after_start() -> None:
    """What is there now stays: it is not looked through for garbage again, and holes in it go back to the system."""
    gc.collect()
    gc.freeze()
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
