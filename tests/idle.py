"""What a process costs at rest: memory, processor time, wake-ups, children; from /proc and its processor clock.

Processor time is the kernel's own count in nanoseconds, threads that ended included. Wake-ups are voluntary switches of
the threads that are there at both ends; what a thread did that came and went between is not in them.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Rest:
    """One process over `seconds`. `switched` are wake-ups and pushes aside by thread name."""

    seconds: float
    resident_mb: float
    proportional_mb: float
    cpu_milliseconds_a_minute: float
    children_cpu_milliseconds_a_minute: float
    wakeups_a_second: float
    switches_a_second: float
    threads: int
    children: int
    by_thread: dict[str, float]


def at_rest(pid: int, seconds: float, wait: Callable[[float], object] = time.sleep) -> Rest:
    """Watches a process for a while. Children that live shorter than a twentieth of a second may be missed."""
    children: set[int] = set()
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.05):
            children.update(_children(pid))

    known = _children(pid)
    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        began, switches, cpu, reaped = time.monotonic(), _switches(pid), _cpu_seconds(pid), _reaped_seconds(pid)
        wait(seconds)
        took, after = time.monotonic() - began, _switches(pid)
        cpu, reaped = _cpu_seconds(pid) - cpu, _reaped_seconds(pid) - reaped
    finally:
        over.set()
        watcher.join()
    woken = {
        f"{name} {tid}": (after[tid, name][0] - switches.get((tid, name), (0, 0))[0]) / took for tid, name in after
    }
    all_switches = sum(sum(counts) for counts in after.values()) - sum(
        sum(counts) for key, counts in switches.items() if key in after
    )
    memory = _memory(pid)
    return Rest(
        seconds=round(took, 1),
        resident_mb=round(memory["Rss"] / 1000, 1),
        proportional_mb=round(memory["Pss"] / 1000, 1),
        cpu_milliseconds_a_minute=round(cpu * 60_000 / took, 1),
        children_cpu_milliseconds_a_minute=round(reaped * 60_000 / took, 1),
        wakeups_a_second=round(sum(woken.values()), 2),
        switches_a_second=round(all_switches / took, 2),
        threads=len(after),
        children=len(children - known),
        by_thread={name: round(rate, 2) for name, rate in woken.items() if rate},
    )


def _cpu_seconds(pid: int) -> float:
    """The processor clock of another process: CPUCLOCK_SCHED of clock_getcpuclockid(3)."""
    return time.clock_gettime(~pid << 3 | 2)


def _reaped_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[13]) + int(fields[14])) / 100


def _children(pid: int) -> set[int]:
    with contextlib.suppress(OSError):
        return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))
    return set()


def _switches(pid: int) -> dict[tuple[int, str], tuple[int, int]]:
    """Voluntary and other switches of each thread."""
    found = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            lines = dict(line.split(":\t", 1) for line in (task / "status").read_text().splitlines() if ":\t" in line)
            counts = int(lines["voluntary_ctxt_switches"]), int(lines["nonvoluntary_ctxt_switches"])
            found[int(task.name), lines["Name"]] = counts
    return found


def _memory(pid: int) -> dict[str, int]:
    """Kilobytes by name, as /proc/PID/smaps_rollup has them (1024 bytes each), in thousands of bytes."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    return {line.split(":")[0]: int(int(line.split()[1]) * 1.024) for line in lines}
