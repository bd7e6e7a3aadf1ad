"""How much memory and time a piece of work took, as the kernel counts it."""

from __future__ import annotations

import mmap
import re
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Final, TypeVar

T = TypeVar("T")

_PARSER_BYTES: Final = 32 << 20
_PEAK: Final = re.compile(r"^VmHWM:\s+(\d+) kB$", re.MULTILINE)
_PRIVATE: Final = re.compile(r"^RssAnon:\s+(\d+) kB$", re.MULTILINE)
_RESIDENT: Final = re.compile(r"^VmRSS:\s+(\d+) kB$", re.MULTILINE)


def resident_bytes() -> int:
    """Memory of this process that is in RAM now."""
    return _figure(_RESIDENT)


def peak_bytes() -> int:
    """The most memory this process had in RAM since it started, or since `reset_peak`."""
    return _figure(_PEAK)


def reset_peak() -> None:
    """Starts a new peak at what is resident now. Where the kernel does not allow it, the old peak stays."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def private_bytes() -> int:
    """Private memory of this process: what is mapped from files can be dropped and read again."""
    return _figure(_PRIVATE)


def room_for(size: int) -> bool:
    """Whether this process may still take the memory that a model of `size` bytes needs when it is read."""
    try:
        mmap.mmap(-1, size + size // 4 + _PARSER_BYTES, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()
    except (OSError, ValueError, OverflowError):
        return False
    return True


def timed(action: Callable[[], T]) -> tuple[T, float]:
    """The result of `action`, and the seconds it took on the wall clock."""
    start = perf_counter()
    result = action()
    return result, perf_counter() - start


def _figure(which: re.Pattern[str]) -> int:
    match = which.search(Path("/proc/self/status").read_text())
    return int(match[1]) * 1024 if match else 0
