"""What of the alerts outlives the daemon: which fire since when, and what people were told of them.

Pure: a JSON value and back. Written down are wall times, for no other clock outlives a process; one that jumped makes
a message late or early by as much, never double or lost.
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
    """What a former daemon left: alerts that fired, what was told of them, and what it held back."""

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
    """What to keep. `now` is monotonic, `wall` the same moment in seconds since 1970."""
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
    """The same again; of a record that makes no sense, nothing."""
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
