"""The record and the waves of a fleet as the API shows them. Pure."""

from __future__ import annotations

from ..answers.fleet import FleetRecordReport, FleetRollout, FleetWaveReport
from ..fleet.keeper import KeeperView
from ..fleet.record import FleetRecord


def record_report(record: FleetRecord) -> FleetRecordReport:
    """The record that is followed."""
    return FleetRecordReport(
        record.sequence, record.version, record.issued, record.expires, record.bytes, len(record.waves), record.hold
    )


def rollout_report(kept: KeeperView) -> FleetRollout:
    """What the keeper that acts knows."""
    opened = kept.step.progress.open
    waves = [
        FleetWaveReport(number, number <= opened, c.serving, c.failed, c.pending, c.blocked, c.silent, c.late)
        for number, c in enumerate(kept.counts, 1)
    ]
    return FleetRollout(kept.step.do, kept.step.because, waves)
