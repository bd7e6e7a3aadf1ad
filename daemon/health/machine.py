"""Reads the machine's and our processes' figures: psutil, and /proc where psutil has no word.

What is not there or vanishes while it is read is absent, never 0. Durations are counters in seconds; whoever wants a
rate keeps the figure before.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

import psutil

from ..memory import group_limit
from ..reading import told

RESOURCES: Final = ("cpu", "io", "memory")


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
    busy = idle = None
    try:
        times = psutil.cpu_times()
        idle = times.idle + getattr(times, "iowait", 0.0)
        # guest time is in user time already
        busy = sum(times) - idle - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
    except (OSError, RuntimeError, psutil.Error):
        pass
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
        processes={name: found for name, pid in processes.items() if (found := _process(pid)) is not None},
    )


def _memory(proc: Path) -> tuple[int | None, int | None, float | None, float | None]:
    """Total and available bytes, used percent (the control group's when that is tighter), swap percent."""
    try:
        memory = psutil.virtual_memory()
    except (OSError, RuntimeError, ValueError, psutil.Error):
        return None, None, None, None
    total, available = int(memory.total), int(memory.available)
    used = 100.0 * (total - available) / total if total else None
    if used is not None and (group := group_limit(proc)) is not None:
        limit, free = group
        if 0 < limit < total:
            used = max(used, 100.0 * (limit - free) / limit)
    return total, available, used, _swap(proc)


def _swap(proc: Path) -> float | None:
    """Used percent; psutil would read all counters of the kernel's memory besides."""
    text = _read(proc / "meminfo")
    size, free = _counter(text, "SwapTotal:"), _counter(text, "SwapFree:")
    if not size or free is None:
        return None
    return 100.0 * max(0, size - free) / size


def _counter(text: str, name: str) -> int | None:
    """The whole number after `name` at the beginning of a line of /proc/meminfo or /proc/vmstat."""
    _, found, rest = f"\n{text}".partition(f"\n{name}")
    value = rest[:40].split("\n", 1)[0].removesuffix("kB").strip() if found else ""
    return int(value) if value.isdigit() and len(value) < 20 else None


def _process(pid: int) -> ProcessFigures | None:
    try:
        process = psutil.Process(pid)
        with process.oneshot():
            cpu = process.cpu_times()
            return ProcessFigures(cpu.user + cpu.system, int(process.memory_info().rss), process.num_fds())
    except (psutil.Error, OSError, ValueError):
        return None  # it ended meanwhile, or is somebody else's now


def _read(path: Path) -> str:
    """A file of /proc; "" when it is not there."""
    try:
        return told(path)
    except OSError:
        return ""


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
    return _counter(_read(proc / "vmstat"), "oom_kill ")
