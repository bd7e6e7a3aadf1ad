"""Builds the requests for a validator and a compiler, for the daemon and for `modelward validate`.

It decides nothing: it puts the configuration into the protocol's words.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...worker.child_protocol import Candidate, FormRequest
from ..config.load import Config, ValidationSection
from ..system.capacity import (
    Capacity,
    Need,
    child_bytes,
    lone_threads,
    workers,
)


def worker_count(config: Config, capacity: Capacity, need: Need) -> tuple[int, str]:
    """How many workers to run, and the reason."""
    if config.workers.count:
        return config.workers.count, "workers.count"
    return workers(capacity, need)


def candidate(
    config: Config,
    path: Path,
    live_artifact: str = "",
    *,
    capacity: Capacity,
    available_bytes: int | None,
    now_seconds: float,
    passed_over: tuple[str, ...] = (),
    sequence_floor: int = 0,
    accepted_before: tuple[str, ...] = (),
    vouched_sums: str = "",
) -> Candidate:
    """The request to validate the version at `path` under this configuration, on a machine with that capacity. The
    validator gets its directory when it is started.
    """
    rules, settings = config.validation, config.workers
    memory = child_bytes(rules.memory, available_bytes, capacity.memory_bytes)
    return Candidate(
        path=str(path),
        version=path.name,
        kind=config.models.kind,
        live_artifact=live_artifact,
        memory_bytes=memory,
        memory_short=memory != rules.memory,
        timeout_seconds=rules.timeout,
        threads=settings.threads,
        providers=settings.providers,
        checksums=rules.checksums,
        public_keys=rules.public_keys,
        golden=_configured_golden(config),
        max_error_rate=rules.max_error_rate,
        max_latency_ratio=rules.max_latency_ratio,
        min_free_bytes=config.disk.min_free.size_bytes if config.disk.min_free.percent is None else 0,
        min_free_fraction=(config.disk.min_free.percent or 0.0) / 100,
        passed_over=passed_over,
        sequence_floor=sequence_floor,
        accepted_before=accepted_before,
        vouched_sums=vouched_sums,
        now_seconds=now_seconds,
    )


def form_request(
    config: Config,
    artifact: str,
    root: Path,
    directory: Path,
    stages: Sequence[str],
    *,
    capacity: Capacity,
    available_bytes: int | None,
    cpu_seconds: int,
    urgent: bool,
    learned: Mapping[str, dict[str, Any]],
) -> FormRequest:
    """Forms of the accepted version that lies in `artifact`, under this configuration's rules.

    A run that has the machine to itself may use as many processors as all workers together.
    """
    rules, settings = config.validation, config.workers
    count, _ = worker_count(config, capacity, Need())
    return FormRequest(
        artifact=artifact,
        root=str(root),
        directory=str(directory),
        level=rules.compile,
        stages=tuple(stages),
        memory_bytes=child_bytes(rules.memory, available_bytes, capacity.memory_bytes),
        cpu_seconds=cpu_seconds,
        threads=settings.threads,
        lone_threads=lone_threads(capacity, count, settings.threads),
        providers=settings.providers,
        golden=_golden(config),
        urgent=urgent,
        learned=dict(learned),
    )


def _configured_golden(config: Config) -> str:
    """The directory of the operator's clips, also when it is missing: only the default place may be missing without a
    remark.
    """
    golden = config.validation.golden
    return golden if golden != ValidationSection().golden else _golden(config)


def _golden(config: Config) -> str:
    """The operator's clips, where there are any."""
    golden = config.validation.golden
    return golden if os.path.isdir(golden or "/nonexistent") else ""
