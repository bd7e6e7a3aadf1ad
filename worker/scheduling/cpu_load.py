"""Finds out whether the machine has processors to spare now, by the kernel's count of runnable threads.

Invariant: a count that cannot be read means no.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Final

LOADAVG: Final = Path("/proc/loadavg")
LOOKS: Final = 3  # at the first reading, the thread that handed over the work is often still about to sleep
BETWEEN_SECONDS: Final = 0.0003
_never: Final = threading.Event()


def room(*, runnable: int, processors: int) -> int:
    """How many threads of ours would have a processor each. `runnable` counts one of ours and all others that want one.

    Of many processors some are always in use for a moment: a quarter of them may be. Pure.
    """
    others = max(0, runnable - 1)
    return max(0, min(processors, processors - others + processors // 4))


def free_processors(path: Path = LOADAVG) -> int:
    """The same for this machine now. Takes up to a millisecond: not for the event loop."""
    processors = len(os.sched_getaffinity(0))
    most = 0
    for look in range(LOOKS):
        if look:
            _never.wait(BETWEEN_SECONDS)
        most = max(most, room(runnable=runnable(path), processors=processors))
        if most == processors:
            break
    return most


def runnable(path: Path = LOADAVG) -> int:
    """How many threads of the machine run or want to, with the calling one (proc(5)); many where it cannot be read."""
    try:
        return int(path.read_text().split()[3].partition("/")[0])
    except (OSError, IndexError, ValueError):
        return 1 << 30
