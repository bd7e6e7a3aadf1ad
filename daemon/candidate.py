"""What a validator is asked about a version, by the daemon and by `modelward validate` alike.

Decides nothing: puts the configuration's rules into the words of the protocol.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from ..worker.protocol import Candidate
from .config import Config

MOST_LONE_THREADS: Final = 8
"""More make one clip hardly faster."""


def worker_count(config: Config) -> int:
    """How many workers there are to be."""
    return config.workers.count or len(os.sched_getaffinity(0))


def candidate(config: Config, path: Path, artifact_root: Path, live_artifact: str = "") -> Candidate:
    """The version at `path` under this configuration's rules.

    A run that has the machine to itself may use as many processors as all workers together.
    """
    rules, workers = config.validation, config.workers
    together = min(worker_count(config), len(os.sched_getaffinity(0)), MOST_LONE_THREADS)
    return Candidate(
        path=str(path),
        version=path.name,
        kind=config.models.kind,
        artifact_root=str(artifact_root),
        live_artifact=live_artifact,
        memory_bytes=rules.memory,
        timeout_seconds=rules.timeout,
        threads=workers.threads,
        lone_threads=together if together > workers.threads else 0,
        providers=workers.providers,
        checksums=rules.checksums,
        public_keys=rules.public_keys,
        golden=rules.golden if os.path.isdir(rules.golden or "/nonexistent") else "",
        max_error_rate=rules.max_error_rate,
        max_latency_ratio=rules.max_latency_ratio,
        compile=rules.compile,
    )
