"""Measures every `interval`: machine, mounts, our processes; keeps series of it; turns it into figures for alerts.

Reading blocks at most a moment, and belongs on a thread of its own; the rest is quick. Rates are between two
measurements; the first has none. Durations are monotonic; the wall clock only dates the rows for people.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from msgspec import Struct, field

from ..system.clock import Clock
from .alerts import Figure
from .host_metrics import Machine, read_machine
from .mounts import Mount, Mounts, StatVfs
from .series import Series

DAEMON: Final = ""
"""The daemon's own name among the processes."""
RECENT_SECONDS: Final = 600.0
MEASURED: Final = (
    "disk_used_percent", "inode_used_percent", "memory_used_percent", "swap_used_percent", "cpu_used_percent",
    "cpu_pressure_percent", "memory_pressure_percent", "io_pressure_percent", "mount_stuck", "oom_kills",
    "daemon_resident_bytes", "worker_resident_bytes", "worker_p95_seconds", "requests_failed_percent",
)  # fmt: skip
SERIES: Final = (
    "cpu_used_percent", "memory_used_percent", "disk_used_percent", "io_pressure_percent", "memory_pressure_percent",
    "requests_per_second", "errors_per_second", "inflight", "p95_seconds", "workers_ready", "workers_resident_bytes",
)  # fmt: skip
_PRESSURE: Final = {("cpu", "some"): "cpu", ("memory", "some"): "memory", ("io", "full"): "io"}


class WorkerSeen(Struct, frozen=True):
    """A worker's last report when a measurement begins; `pid` 0: we do not measure it."""

    name: str
    pid: int
    requests: int
    errors: int
    inflight: int
    p95_seconds: float
    resident_bytes: int
    ready: bool


class SystemReading(Struct, frozen=True):
    """The system's figures at one moment; `seconds` is how long it took to read them."""

    at: float
    machine: Machine
    mounts: tuple[Mount, ...]
    seconds: float


class SystemSample(Struct, frozen=True):
    """One measurement. `seconds` is what it took."""

    at: float
    machine: Machine
    mounts: tuple[Mount, ...]
    figures: tuple[Figure, ...]
    row: Mapping[str, float | None]
    seconds: float


class Totals(Struct):
    """What the workers answered since the daemon started, over their restarts. Requests and errors only grow."""

    requests: int = 0
    errors: int = 0
    _last: dict[tuple[str, int], tuple[int, int]] = field(default_factory=dict)

    def add(self, workers: Iterable[WorkerSeen]) -> None:
        """A worker's counters begin again with each process, which its pid shows. What it did before is not counted."""
        now: dict[tuple[str, int], tuple[int, int]] = {}
        for worker in workers:
            key, count = (worker.name, worker.pid), (worker.requests, worker.errors)
            before = self._last.get(key, count)
            self.requests += max(0, count[0] - before[0])
            self.errors += max(0, count[1] - before[1])
            now[key] = count
        self._last = now


def pids_of(workers: Iterable[WorkerSeen]) -> dict[str, int]:
    """The processes to be measured, by worker."""
    return {worker.name: worker.pid for worker in workers if worker.pid}


class Sampler:
    """See the module. `proc` and `statvfs` are where it reads."""

    def __init__(
        self, clock: Clock, interval_seconds: float, *, proc: Path = Path("/proc"), statvfs: StatVfs = os.statvfs
    ) -> None:
        self._clock, self._proc = clock, proc
        self._mounts = Mounts(clock, statvfs, proc)
        self.series = Series(SERIES, interval_seconds)
        self._before: SystemSample | None = None
        self._totals, self._answered = Totals(), (0, 0)
        self._kills: deque[tuple[float, int]] = deque(maxlen=1000)

    @property
    def totals(self) -> Totals:
        """What the workers answered since the daemon began."""
        return self._totals

    @property
    def last(self) -> SystemSample | None:
        return self._before

    def read(self, paths: Iterable[Path], pids: Mapping[str, int]) -> SystemReading:
        """Reads the system, on a thread. `paths` are directories on the file systems that count; `pids` are our
        processes.
        """
        began = self._clock.monotonic()
        machine = read_machine({**pids, DAEMON: os.getpid()}, self._proc)
        return SystemReading(began, machine, self._mounts.read(paths), self._clock.monotonic() - began)

    def take(self, interval_seconds: float, reading: SystemReading, workers: Iterable[WorkerSeen]) -> SystemSample:
        """Adds a row and returns the measurement."""
        workers = tuple(workers)
        self.series.set_interval(interval_seconds)
        began, before, machine, mounts = reading.at, self._before, reading.machine, reading.mounts
        figures = [*_of_mounts(mounts), *self._of_machine(machine, before, began)]
        row = {f.metric: f.value for f in figures if not f.subject}
        row["disk_used_percent"] = max((m.space.used_percent for m in mounts if m.space), default=None)
        figures += self._of_workers(workers, machine, before, began, row)
        sample = SystemSample(began, machine, mounts, tuple(figures), row, reading.seconds)
        self._before = sample
        self.series.add(self._clock.wall(), row)
        return sample

    def _of_machine(self, machine: Machine, before: SystemSample | None, now: float) -> list[Figure]:
        busy = _busy_percent(before.machine if before else None, machine)
        figures = [
            Figure("cpu_used_percent", busy, "", "it takes two measurements" if busy is None else "", before is None),
            Figure("memory_used_percent", machine.memory_used_percent),
            *(
                Figure(f"{_PRESSURE[p.resource, p.kind]}_pressure_percent", p.avg60_percent)
                for p in machine.pressure
                if (p.resource, p.kind) in _PRESSURE
            ),
        ]
        if machine.swap_used_percent is not None:
            figures.append(Figure("swap_used_percent", machine.swap_used_percent))
        if own := machine.processes.get(DAEMON):
            figures.append(Figure("daemon_resident_bytes", float(own.resident_bytes)))
        if machine.oom_kills is not None:
            known = before.machine.oom_kills if before else machine.oom_kills
            if machine.oom_kills > (known or 0):
                self._kills.append((now, machine.oom_kills - (known or 0)))
            figures.append(Figure("oom_kills", float(sum(n for at, n in self._kills if now - at <= RECENT_SECONDS))))
        return figures

    def _of_workers(
        self,
        workers: tuple[WorkerSeen, ...],
        machine: Machine,
        before: SystemSample | None,
        now: float,
        row: dict[str, float | None],
    ) -> list[Figure]:
        """Figures of each worker; the sums go into `row`."""
        self._totals.add(workers)
        requests, errors = self._totals.requests, self._totals.errors
        new, failed = requests - self._answered[0], errors - self._answered[1]
        self._answered = (requests, errors)
        seconds = now - before.at if before else 0.0
        figures = [Figure("requests_failed_percent", 100.0 * failed / new if new > 0 else 0.0)]
        resident = 0
        for worker in workers:
            own = machine.processes.get(worker.name)
            used = own.resident_bytes if own else worker.resident_bytes
            resident += used
            figures.append(Figure("worker_resident_bytes", float(used), worker.name))
            figures.append(Figure("worker_p95_seconds", worker.p95_seconds, worker.name))
        row |= {
            "requests_per_second": new / seconds if seconds > 0 else None,
            "errors_per_second": failed / seconds if seconds > 0 else None,
            "inflight": float(sum(worker.inflight for worker in workers)),
            "p95_seconds": max((worker.p95_seconds for worker in workers), default=None),
            "workers_ready": float(sum(worker.ready for worker in workers)),
            "workers_resident_bytes": float(resident),
        }
        return figures


def _of_mounts(mounts: Iterable[Mount]) -> list[Figure]:
    figures = []
    for mount in mounts:
        space = mount.space
        figures.append(Figure("disk_used_percent", space.used_percent if space else None, mount.mount, mount.because))
        figures.append(Figure("mount_stuck", float(mount.stuck), mount.mount, mount.because))
        if space is None:
            figures.append(Figure("inode_used_percent", None, mount.mount, mount.because))
        elif (inodes := space.inodes_used_percent) is not None:
            figures.append(Figure("inode_used_percent", inodes, mount.mount))
    return figures


def _busy_percent(before: Machine | None, now: Machine) -> float | None:
    """Of the time between two measurements; None for the first, and when nothing passed."""
    if before is None or now.cpu_busy_seconds is None or now.cpu_idle_seconds is None:
        return None
    if before.cpu_busy_seconds is None or before.cpu_idle_seconds is None:
        return None
    busy = max(0.0, now.cpu_busy_seconds - before.cpu_busy_seconds)
    idle = max(0.0, now.cpu_idle_seconds - before.cpu_idle_seconds)
    return 100.0 * busy / (busy + idle) if busy + idle > 0 else None
