"""Reads the machine's and our processes' figures from /proc, each file in one go: this runs every few seconds for ever.

What is not there or vanishes while it is read is absent, never 0. Durations are counters in seconds; whoever wants a
rate keeps the figure before.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from ..memory import group_limit

RESOURCES: Final = ("cpu", "io", "memory")
MAX_PROC_BYTES: Final = 64 * 1024
TICKS_A_SECOND: Final = os.sysconf("SC_CLK_TCK")
PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


class Pressure(NamedTuple):
    """Pressure-stall information of one resource: `kind` is some or full."""

    resource: str
    kind: str
    avg60_percent: float
    total_seconds: float


@dataclass(frozen=True)
class ProcessFigures:
    """One process of ours."""

    cpu_seconds: float
    resident_bytes: int
    open_fds: int


@dataclass(frozen=True)
class Machine:
    """The machine at one moment; None and empty: not to be had here."""

    cpu_busy_seconds: float | None = None
    cpu_idle_seconds: float | None = None
    memory_total_bytes: int | None = None
    memory_available_bytes: int | None = None
    memory_used_percent: float | None = None
    swap_used_percent: float | None = None
    pressure: tuple[Pressure, ...] = ()
    oom_kills: int | None = None
    processes: Mapping[str, ProcessFigures] = field(default_factory=dict)


def read_machine(processes: Mapping[str, int], proc: Path = Path("/proc")) -> Machine:
    """Everything now. `processes` are pids by the name they shall have; one that is gone is left out."""
    busy, idle = _processors(proc)
    total, available, used, swap = _memory(proc)
    pressure = [line for resource in RESOURCES for line in _pressure(proc, resource)]
    return Machine(
        cpu_busy_seconds=busy,
        cpu_idle_seconds=idle,
        memory_total_bytes=total,
        memory_available_bytes=available,
        memory_used_percent=used,
        swap_used_percent=swap,
        pressure=tuple(pressure),
        oom_kills=_oom_kills(proc),
        processes={name: found for name, pid in processes.items() if (found := _process(proc, pid)) is not None},
    )


def _processors(proc: Path) -> tuple[float | None, float | None]:
    """Seconds that all processors together were busy and idle since the machine started, proc_stat(5)."""
    first = _read(proc / "stat").partition("\n")[0].split()
    try:
        ticks = [count for text in first[1:] if (count := _count(text)) is not None]
        user_to_steal, idle = ticks[:8], ticks[3] + ticks[4]  # guest time, what follows, is in user time already
    except IndexError:
        return None, None
    return (sum(user_to_steal) - idle) / TICKS_A_SECOND, idle / TICKS_A_SECOND


def _memory(proc: Path) -> tuple[int | None, int | None, float | None, float | None]:
    """Total and available bytes, used percent (the control group's when that is tighter), swap percent."""
    found = dict.fromkeys(("MemTotal", "MemAvailable", "SwapTotal", "SwapFree"), 0)
    for line in _read(proc / "meminfo").splitlines():
        name, _, value = line.partition(":")
        if name in found:
            found[name] = (_count(value.removesuffix("kB").strip()) or 0) * 1024
    total, available, swap = found["MemTotal"], found["MemAvailable"], found["SwapTotal"]
    if not total or not available:
        return None, None, None, None
    used = 100.0 * (total - available) / total
    if (group := group_limit(proc)) is not None:
        limit, free = group
        if 0 < limit < total:
            used = max(used, 100.0 * (limit - free) / limit)
    return total, available, used, 100.0 * (swap - found["SwapFree"]) / swap if swap else None


def _process(proc: Path, pid: int) -> ProcessFigures | None:
    """proc_pid_stat(5), fields 3, 14, 15 and 24; None when it ended meanwhile, or is somebody else's now."""
    fields = _read(proc / f"{pid}/stat").rpartition(")")[2].split()
    try:
        if fields[0] in "ZX":
            return None
        cpu, resident = (int(fields[11]) + int(fields[12])) / TICKS_A_SECOND, int(fields[21]) * PAGE_BYTES
        return ProcessFigures(cpu, resident, len(os.listdir(proc / f"{pid}/fd")))
    except (OSError, IndexError, ValueError):
        return None


def _read(path: Path) -> str:
    """A file of /proc; "" when it is not there."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        data = b""
        while len(data) < MAX_PROC_BYTES and (more := os.read(fd, MAX_PROC_BYTES)):
            data += more
        return data.decode("ascii", "replace")
    except OSError:
        return ""
    finally:
        os.close(fd)


def _pressure(proc: Path, resource: str) -> list[Pressure]:
    """/proc/pressure/cpu, io or memory: "some avg10=0.00 avg60=0.00 avg300=0.00 total=123" (microseconds)."""
    found = []
    for line in _read(proc / "pressure" / resource).splitlines():
        kind, *fields = line.split() or [""]
        values = dict(part.split("=", 1) for part in fields if "=" in part)
        try:
            found.append(Pressure(resource, kind, float(values["avg60"]), int(values["total"]) / 1e6))
        except (KeyError, ValueError, OverflowError):
            continue
    return [line for line in found if math.isfinite(line.avg60_percent)]


def _oom_kills(proc: Path) -> int | None:
    value = ("\n" + _read(proc / "vmstat")).partition("\noom_kill ")[2].partition("\n")[0]
    return _count(value)


def _count(text: str) -> int | None:
    """A number as the kernel writes one; None for what no counter of 64 bits holds."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 20 else None
