"""Events: what `GET /v1/events` sends, besides alerts and rollouts, which are sent as they are."""

from __future__ import annotations

from msgspec import Struct

from .versions import GateReport


class GateNews(Struct, frozen=True):
    """A version has come to a gate; `done` is the result once there is one."""

    version: str
    gate: str
    done: GateReport | None = None


class SampleNews(Struct, frozen=True):
    """The figures of one measurement; `time` is RFC 3339 in UTC."""

    time: str
    row: dict[str, float | None]


class HistoryNews(Struct, frozen=True):
    """A line of history was kept."""

    kind: str
    version: str
    because: str


class WorkerNews(Struct, frozen=True):
    """A worker sent a message."""

    worker: str
    kind: str
    version: str
