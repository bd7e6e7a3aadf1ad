"""Alerts and their channels in the API's structures. Pure."""

from __future__ import annotations

from ..answers.alerts import AlertAcknowledged, AlertReport, ChannelReport
from ..health import message_text
from ..health.alerts import Alert
from ..health.delivery import AlertChannel
from ..health.mutes import Acknowledgement
from ..system.clock import rfc3339


def alert(alert: Alert, *, since: float, held: str = "", acknowledged: Acknowledgement | None = None) -> AlertReport:
    """One alert. `since` is wall seconds; `held` is why nothing is sent about it now, "" when messages are sent."""
    return AlertReport(
        name=alert.rule.name,
        subject=alert.subject,
        state=alert.state.value,
        severity=alert.rule.severity,
        metric=alert.rule.metric,
        value=None if alert.value is None else round(alert.value, 4),
        threshold=alert.rule.threshold,
        since=rfc3339(since),
        message=message_text.sentence(alert),
        held=held,
        acknowledged=_acknowledged(acknowledged),
    )


def _acknowledged(entry: Acknowledgement | None) -> AlertAcknowledged | None:
    return None if entry is None else AlertAcknowledged(rfc3339(entry.since), entry.because)


def channel(channel: AlertChannel) -> ChannelReport:
    """One receiver, by its label: its address is a secret."""
    return ChannelReport(
        channel=channel.address.label,
        failures=channel.failures,
        because=channel.because,
        waiting=len(channel.queue),
        delivered=channel.counts.delivered,
        failed=channel.counts.failed,
        dropped=channel.counts.dropped,
    )
