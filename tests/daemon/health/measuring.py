"""One measurement from beginning to end, where a test has no need of the thread between."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from modelward.daemon.health.sampler import (
    Sampler,
    SystemSample,
    WorkerSeen,
    pids_of,
)


def collect(
    monitor: Sampler, interval_seconds: float, paths: Iterable[Path], workers: Sequence[WorkerSeen]
) -> SystemSample:
    """Reads and takes at once."""
    return monitor.take(interval_seconds, monitor.read(paths, pids_of(workers)), workers)
