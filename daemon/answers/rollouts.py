"""Rollouts: what `GET /v1/rollouts/ID` answers, and a part of the status."""

from __future__ import annotations

from msgspec import Struct, field


class RolloutWorker(Struct, frozen=True):
    """One worker in a rollout, with its stage."""

    name: str
    state: str


class RolloutStep(Struct, frozen=True):
    """One step of a rollout. `time` is RFC 3339 in UTC; `worker` is "" for a step of no single worker."""

    time: str
    step: str
    because: str
    worker: str


class RolloutAnswer(Struct, frozen=True):
    """One rollout. `origin` is what asked for it; `began` is RFC 3339 in UTC; `decided` when it is over."""

    id: str
    version: str
    digest: str
    old_version: str = field(name="from")
    origin: str
    state: str
    because: str
    began: str
    decided: bool
    succeeded: bool
    workers: list[RolloutWorker]
    steps: list[RolloutStep]
