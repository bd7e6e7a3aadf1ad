"""Reads the figures of the machine and of our processes, from psutil, and from /proc where psutil has less or costs
more.

A figure that cannot be read is absent, never 0. Durations are counters in seconds; the caller computes rates. It runs
six times a minute, so it reads each file once and only for what is used.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

import psutil
from msgspec import Struct, field

from ..system import cgroups
from ..system.safe_read import kernel_text

RESOURCES: Final = ("cpu", "io", "memory")
_TICK: Final = os.sysconf("SC_CLK_TCK")
_PAGE: Final = os.sysconf("SC_PAGESIZE")


class Pressure(NamedTuple):
    """Pressure-stall information of one resource: `kind` is some or full."""

    resource: str
    kind: str
    avg60_percent: float
    total_seconds: float


class ProcessFigures(Struct, frozen=True):
    """One process of ours."""

    cpu_seconds: float
    resident_bytes: int
    open_fds: int


class Machine(Struct, frozen=True):
    """The machine at one moment. None or empty: not available here."""

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
    """All current figures. `processes` maps names to pids; a process that has ended is left out."""
    busy = idle = None
    try:
        times = psutil.cpu_times()
        idle = times.idle + getattr(times, "iowait", 0.0)
        # guest time is in user time already
        busy = sum(times) - idle - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
    except (OSError, RuntimeError, psutil.Error):
        pass
    total, available, used, swap = _memory(proc)
    pressure = [line for resource in RESOURCES for line in _pressure(f"{proc}/pressure/{resource}", resource)]
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
    text = _read(f"{proc}/meminfo")
    total, available = _kib(text, "MemTotal:"), _kib(text, "MemAvailable:")
    swap, unused = _kib(text, "SwapTotal:"), _kib(text, "SwapFree:")
    swapped = 100.0 * max(0, swap - unused) / swap if swap and unused is not None else None
    if not total or available is None:
        return None, None, None, swapped
    used = 100.0 * max(0, total - available) / total
    if (group := cgroups.memory(proc)) is not None:
        limit, free = group
        if 0 < limit < total:
            used = max(used, 100.0 * (limit - free) / limit)
    return total, available, used, swapped


def _oom_kills(proc: Path) -> int | None:
    """Of our control group where it counts them, otherwise of the whole machine."""
    ours = cgroups.oom_kills(proc)
    return _counter(_read(f"{proc}/vmstat"), "oom_kill ") if ours is None else ours


def _kib(text: str, name: str) -> int | None:
    """Bytes, of a line in KiB."""
    value = _counter(text, name)
    return None if value is None else value * 1024


def _counter(text: str, name: str) -> int | None:
    """The whole number after `name` at the beginning of a line of /proc/meminfo or /proc/vmstat."""
    _, found, rest = f"\n{text}".partition(f"\n{name}")
    value = rest[:40].split("\n", 1)[0].removesuffix("kB").strip() if found else ""
    return int(value) if value.isdigit() and len(value) < 20 else None


def _process(pid: int) -> ProcessFigures | None:
    """From one file and one status (proc_pid_stat(5)); psutil reads five files for the same, and lists a directory."""
    try:
        fields = kernel_text(f"/proc/{pid}/stat").rpartition(")")[2].split()
        if fields[0] in "ZX":
            return None
        # Since Linux 6.2 the size of the directory is the number of what is open; before, it is 0.
        fds = os.stat(f"/proc/{pid}/fd").st_size or len(os.listdir(f"/proc/{pid}/fd"))
        return ProcessFigures((int(fields[11]) + int(fields[12])) / _TICK, int(fields[21]) * _PAGE, fds)
    except (OSError, ValueError, IndexError):
        return None  # it ended meanwhile, or the pid belongs to another program


def _read(path: str) -> str:
    """A file of /proc; "" when it is not there."""
    try:
        return kernel_text(path)
    except OSError:
        return ""


def _pressure(path: str, resource: str) -> list[Pressure]:
    """Lines as "some avg10=0.00 avg60=0.00 avg300=0.00 total=123" (microseconds)."""
    found = []
    for line in _read(path).splitlines():
        kind, *fields = line.split() or [""]
        values = dict(part.split("=", 1) for part in fields if "=" in part)
        try:
            found.append(Pressure(resource, kind, float(values["avg60"]), int(values["total"]) / 1e6))
        except (KeyError, ValueError, OverflowError):
            continue
    return [line for line in found if math.isfinite(line.avg60_percent)]
