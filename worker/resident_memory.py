"""Measures the memory of this process, and returns that of a dropped model to the system.

glibc keeps what a session freed for later use: after each swap as much as a whole model. The daemon sets
MALLOC_MMAP_THRESHOLD_ when it starts a worker, which covers the large blocks; trimming covers the rest. Trimming must
run off the event loop.
"""

from __future__ import annotations

import ctypes
import gc
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

_PAGE: Final = os.sysconf("SC_PAGESIZE")


class Resident:
    """Resident memory of this process. To be created before it has a model.

    The kernel counts a page once for each place where it is mapped. Here the pages of a model that is open several
    times (`mappings`) count once. Otherwise opening it for lone runs would look like a leak.
    """

    def __init__(self, mappings: Callable[[], int] = lambda: 1, statm: Path = Path("/proc/self/statm")) -> None:
        self._mappings, self._statm = mappings, statm
        self._bare = self._pages()[1]

    def bytes(self) -> int:
        """What is in RAM now."""
        resident, mapped = self._pages()
        model = max(0, mapped - self._bare)
        return (resident - model + model // max(1, self._mappings())) * _PAGE

    def _pages(self) -> tuple[int, int]:
        """All resident pages, and those of them that are mapped from files (proc_pid_statm(5))."""
        _, resident, mapped, *_ = self._statm.read_bytes().split()
        return int(resident), int(mapped)


def trim() -> None:
    """Collects cycles, then returns free heap pages to the system. Does nothing more where libc has no malloc_trim."""
    gc.collect()
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)
