"""Workers: what `GET /v1/workers` answers."""

from __future__ import annotations

from msgspec import UNSET, Struct, UnsetType


class WorkerReport(Struct, frozen=True):
    """One worker, or a place that waits for one: then `name` is "" and `pid` null.

    `state` is ready, loading, idle, retiring, starting, waiting or blocked; `serving` is the version that it answers
    with, "" for none. `requests` and `errors` only grow. `because` is set for a worker that is not connected.
    """

    name: str
    pid: int | None
    state: str
    serving: str
    attached: bool
    inflight: int
    requests: int
    errors: int
    p95_seconds: float
    rss_bytes: int
    confinement: str
    because: str | UnsetType = UNSET


class WorkersAnswer(Struct, frozen=True):
    """Connected workers, then processes that have not joined, then places that wait for a start."""

    workers: list[WorkerReport]
