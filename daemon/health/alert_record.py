"""What is kept of the alerts over a restart: which alerts fire, since when, and which were sent.

Pure: to a JSON value and back. The record has wall times, because no other clock outlives a process. If that clock is
set, a message comes early or late by the same amount; none is lost or sent twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from msgspec import Struct, field

from .alerts import Alert, restore
from .notification_planner import GroupNotified, MissedAlert
from .rules import HealthRule

FACT: Final = "alerts"
MAX_CHARS: Final = 500
MAX_MISSED: Final = 50
"""Sentences of one severity that wait for the end of quiet hours; the oldest go."""


class Recalled(Struct, frozen=True):
    """What a former daemon recorded: the alerts that fired, what was sent about them, and what was held back."""

    alerts: dict[str, Alert] = field(default_factory=dict)
    told: dict[str, GroupNotified] = field(default_factory=dict)
    missed: dict[str, tuple[MissedAlert, ...]] = field(default_factory=dict)


def record(
    alerts: Mapping[str, Alert],
    told: Mapping[str, GroupNotified],
    missed: Mapping[str, Iterable[MissedAlert]],
    now: float,
    wall: float,
) -> dict[str, Any]:
    """The record. `now` is monotonic; `wall` is the same moment in seconds since 1970."""
    return {
        "missed": {
            group: [[each.rule, each.fingerprint, each.text[:MAX_CHARS]] for each in entries]
            for group, entries in missed.items()
            if entries
        },
        "firing": {a.fingerprint: wall - (now - a.fired) for a in alerts.values() if a.fired is not None},
        "told": {
            group: {
                "last_sent": wall - (now - t.last_sent),
                "firing": {f: text[:MAX_CHARS] for f, text in t.firing.items()},
            }
            for group, t in told.items()
        },
    }


def read(kept: object, rules: Iterable[HealthRule], now: float, wall: float) -> Recalled:
    """The content of a record. A record that is damaged counts as empty."""
    try:
        if not isinstance(kept, dict):
            return Recalled()
        firing = {str(f): now - max(0.0, wall - float(since)) for f, since in kept["firing"].items()}
        told = {
            str(group): GroupNotified(
                now - max(0.0, wall - float(t["last_sent"])), {str(f): str(text) for f, text in t["firing"].items()}
            )
            for group, t in kept["told"].items()
        }
        left = kept.get("missed", {})  # of an older release there is none
        missed = {
            str(group): tuple(
                MissedAlert(str(rule), str(which), str(text)) for rule, which, text in entries[-MAX_MISSED:]
            )
            for group, entries in left.items()
        }
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
        return Recalled()
    return Recalled(restore(firing, rules), told, missed)
