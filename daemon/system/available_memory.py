"""Measures how much of this machine our processes may use: memory that is still available, and processors.

It reads the figures of the machine and of its control groups; the lower one counts. It decides nothing.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from . import cgroups
from .capacity import Capacity
from .safe_read import kernel_text


def available_bytes(proc: Path = cgroups.PROC, root: Path = cgroups.ROOT) -> int | None:
    """Bytes that new processes can use without pushing others out of memory; None when no figure is known."""
    group = cgroups.memory(proc, root)
    known = [value for value in (_machine(proc, "MemAvailable:"), group and group.free_bytes) if value is not None]
    return min(known, default=None)


def whole_bytes(proc: Path = cgroups.PROC, root: Path = cgroups.ROOT) -> int | None:
    """Bytes that all our processes together may ever have; None when no figure is known."""
    group = cgroups.memory(proc, root)
    known = [value for value in (_machine(proc, "MemTotal:"), group and group.limit_bytes) if value is not None]
    return min(known, default=None)


def capacity(proc: Path = cgroups.PROC, root: Path = cgroups.ROOT) -> Capacity:
    """What this process and its children may use now."""
    return Capacity(cgroups.affinity(), cgroups.quota(proc, root), whole_bytes(proc, root))


def _machine(proc: Path, name: str) -> int | None:
    with suppress(OSError, ValueError, IndexError):
        for line in kernel_text(proc / "meminfo").splitlines():
            if line.startswith(name):
                return max(0, int(line.split()[1])) * 1024
    return None


def memory_pressure(proc: Path = cgroups.PROC) -> float | None:
    """Percent of the last ten seconds in which a task waited for memory; None where the kernel does not report it."""
    with suppress(OSError, ValueError, StopIteration):
        line = next(line for line in kernel_text(proc / "pressure/memory").splitlines() if line.startswith("some "))
        return float(line.partition("avg10=")[2].split()[0])
    return None
