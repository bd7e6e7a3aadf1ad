"""Alerts and figures: what `GET /v1/alerts`, `GET /v1/series` and `POST /v1/alerts/test` answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec import Struct

SPANS: Final[Mapping[str, tuple[float, float]]] = {"1h": (3600.0, 0.0), "24h": (86400.0, 60.0), "7d": (604800.0, 600.0)}
"""Seconds that each goes back, and between two of its rows; 0: as often as is measured."""


class AlertAcknowledged(Struct, frozen=True):
    """Since when an alert is acknowledged, and the operator's reason."""

    since: str
    because: str


class AlertReport(Struct, frozen=True):
    """One alert. `value` is null while nothing was measured; `since` is RFC 3339 in UTC.

    `held` is why nothing is sent about it now, "" when it is.
    """

    name: str
    subject: str
    state: str
    severity: str
    metric: str
    value: float | None
    threshold: float
    since: str
    message: str
    held: str
    acknowledged: AlertAcknowledged | None


class MuteReport(Struct, frozen=True):
    """Nothing is sent about `name`, or about all alerts, until then."""

    name: str
    since: str
    until: str
    because: str


class WindowReport(Struct, frozen=True):
    """A maintenance window or quiet hours that are open; no `alerts`: all. `critical`: those are held back too."""

    alerts: list[str]
    until: str
    because: str
    critical: bool


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
    """Every alert that is not simply ok, the gravest first, how the channels do, and what is held back."""

    alerts: list[AlertReport]
    channels: list[ChannelReport]
    mutes: list[MuteReport]
    windows: list[WindowReport]


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
    """A few figures over a time, oldest first; `times` are RFC 3339 in UTC; null where nothing was known."""

    interval_seconds: float
    times: list[str]
    series: dict[str, list[float | None]]
