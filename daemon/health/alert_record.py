"""What of the alerts outlives the daemon: which fire since when, and what people were told of them.

Pure: a JSON value and back. Written down are wall times, for no other clock outlives a process; one that jumped makes
a message late or early by as much, never double or lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from .alerts import Alert, restore
from .notification_planner import GroupNotified
from .rules import HealthRule

FACT: Final = "alerts"
MAX_CHARS: Final = 500


def record(alerts: Mapping[str, Alert], told: Mapping[str, GroupNotified], now: float, wall: float) -> dict[str, Any]:
    """What to keep. `now` is monotonic, `wall` the same moment in seconds since 1970."""
    return {
        "firing": {a.fingerprint: wall - (now - a.fired) for a in alerts.values() if a.fired is not None},
        "told": {
            group: {
                "last_sent": wall - (now - t.last_sent),
                "firing": {f: text[:MAX_CHARS] for f, text in t.firing.items()},
            }
            for group, t in told.items()
        },
    }


def read(
    kept: object, rules: Iterable[HealthRule], now: float, wall: float
) -> tuple[dict[str, Alert], dict[str, GroupNotified]]:
    """Alerts and what was told of them; of a record that makes no sense, nothing."""
    try:
        if not isinstance(kept, dict):
            return {}, {}
        firing = {str(f): now - max(0.0, wall - float(since)) for f, since in kept["firing"].items()}
        told = {
            str(group): GroupNotified(
                now - max(0.0, wall - float(t["last_sent"])), {str(f): str(text) for f, text in t["firing"].items()}
            )
            for group, t in kept["told"].items()
        }
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
        return {}, {}
    return restore(firing, rules), told
