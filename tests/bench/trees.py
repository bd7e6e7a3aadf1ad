"""What a server's processes use, whoever started them: CPU, proportional memory, switches, children started.

A server's processes are known by a mark in their environment, since some put theirs into sessions of their own.
Reads /proc only.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

MARK = "BENCH_SERVER"
_TICK = os.sysconf("SC_CLK_TCK")


def marked(mark: str) -> list[int]:
    """The processes that carry `mark`, in the order of their ids; zombies have no environment any more."""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if wanted in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
    return sorted(found)


def cpu_seconds(pids: list[int], *, waited: bool = True) -> float:
    """User and system time of these processes; with `waited` also of their children that ended and were waited for."""
    total = 0.0
    for pid in pids:
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += sum(int(value) for value in fields[11 : 15 if waited else 13]) / _TICK
    return total


def waited_seconds(pid: int) -> float:
    """User and system time of the children that it waited for."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[13]) + int(fields[14])) / _TICK


def run_seconds(pid: int) -> float:
    """CPU time of one process to the nanosecond: the sum over its threads of what the scheduler counted."""
    total = 0
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):
                total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def run_seconds_of(pids: list[int]) -> float:
    """Of several processes; of one that has ended nothing counts any more."""
    return sum(map(run_seconds, pids))


def switches(pid: int) -> int:
    """Voluntary context switches of one process: how often one of its threads went to sleep, so how often it woke."""
    total = 0
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):
                for line in (task / "status").read_text().splitlines():
                    if line.startswith("voluntary_ctxt_switches:"):
                        total += int(line.split()[1])
    return total


def memory(pids: list[int]) -> dict[str, float]:
    """MiB of these processes together: proportional (shared pages divided among those who share), resident, private."""
    sums = {"Pss": 0.0, "Rss": 0.0, "Private_Dirty": 0.0}
    for pid in pids:
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
                name, value, *_ = line.split()
                if name[:-1] in sums:
                    sums[name[:-1]] += int(value) / 1024
    return {"pss": sums["Pss"], "rss": sums["Rss"], "private": sums["Private_Dirty"]}


def end(mark: str, seconds: float = 10.0) -> None:
    """Ends whatever still carries `mark`: asks first, then does not ask."""
    for number, patience in ((signal.SIGTERM, seconds), (signal.SIGKILL, seconds)):
        for pid in marked(mark):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        tick = threading.Event()
        for _ in range(int(patience / 0.05)):
            if not marked(mark):
                return
            tick.wait(0.05)


@dataclass
class Peak:
    """Samples the proportional memory, MiB, of the processes that `pids` gives while the block runs."""

    pids: Callable[[], list[int]]
    every_seconds: float = 0.2
    samples: list[float] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Peak:
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            self.samples.append(memory(self.pids())["pss"])
            if self._over.wait(self.every_seconds):
                return
