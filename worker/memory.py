"""Gives memory of a dropped model back to the system.

glibc keeps what a session freed for later; after each swap that would be a model's worth. The spawner sets
MALLOC_MMAP_THRESHOLD_, which covers the large blocks; trimming covers the rest. Must run off the event loop.
"""

from __future__ import annotations

import ctypes
import gc


def trim() -> None:
    """Collects cycles, then returns free heap pages to the system. Does nothing more where libc has no malloc_trim."""
    gc.collect()
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)
