"""Alerts and figures: what `GET /v1/alerts`, `GET /v1/series` and `POST /v1/alerts/test` answer."""

from __future__ import annotations

from msgspec import Struct


class AlertReport(Struct, frozen=True):
    """One alert. `value` is null while nothing was measured; `since` is RFC 3339 in UTC."""

    name: str
    subject: str
    state: str
    severity: str
    metric: str
    value: float | None
    threshold: float
    since: str
    message: str


class ChannelReport(Struct, frozen=True):
    """A channel that messages go to: failures in a row and why, messages that wait, and counts that only grow."""

    channel: str
    failures: int
    because: str
    waiting: int
    delivered: int
    failed: int
    dropped: int


class AlertsAnswer(Struct, frozen=True):
    """Every alert that is not simply ok, the gravest first, and how the channels do."""

    alerts: list[AlertReport]
    channels: list[ChannelReport]


class ChannelTest(Struct, frozen=True):
    """How a test message to one channel went; `seconds` is how long it took."""

    channel: str
    delivered: bool
    because: str
    seconds: float


class AlertsTestAnswer(Struct, frozen=True):
    """How a test message to every channel went."""

    success: bool
    message: str
    channels: list[ChannelTest]


class SeriesAnswer(Struct, frozen=True):
    """The last hour of a few figures, oldest first; `times` are RFC 3339 in UTC; null where nothing was known."""

    interval_seconds: float
    times: list[str]
    series: dict[str, list[float | None]]
