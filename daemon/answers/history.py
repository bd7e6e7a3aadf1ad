"""History: what `GET /v1/history` answers."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET, Struct, UnsetType


class HistoryLine(Struct, frozen=True):
    """One thing that happened. `time` is RFC 3339 in UTC.

    What follows `because` is there where it belongs to the kind. Objects are as the release wrote them that kept the
    line: a verdict, a rollout, a rotation, the classes of a sweep. `left_out` is the size of a detail that was too
    large to keep.
    """

    id: int
    time: str
    kind: str
    version: str
    because: str
    digest: str | UnsetType = UNSET
    verdict: dict[str, Any] | UnsetType = UNSET
    rollout: dict[str, Any] | UnsetType = UNSET
    rotation: dict[str, Any] | UnsetType = UNSET
    classes: list[dict[str, Any]] | UnsetType = UNSET
    alert: str | UnsetType = UNSET
    subject: str | UnsetType = UNSET
    until: str | UnsetType = UNSET
    worker: str | UnsetType = UNSET
    pid: int | UnsetType = UNSET
    left_out: str | UnsetType = UNSET


class HistoryAnswer(Struct, frozen=True):
    """What happened, newest first."""

    history: list[HistoryLine]
