"""Mutes and acknowledgements: which alerts an operator does not want to receive, until when and why.

Pure. A mute names a rule, one alert (`rule:subject`) or all alerts, and ends by itself; an acknowledgement ends with
its alert. Both have wall times, because they outlive the daemon. Invariants: at most MAX_MUTES mutes, none longer than
MAX_SECONDS.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from math import isfinite
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import asdict

from ..units import DAY, HOUR

FACT: Final = "alert-mutes"
ALL: Final = "all"
MAX_MUTES: Final = 100
MAX_ACKNOWLEDGED: Final = 1000
MAX_SECONDS: Final = 30 * DAY
MAX_WHY_CHARS: Final = 200
CLOCK_BACK_SECONDS: Final = HOUR


class Mute(Struct, frozen=True):
    """Nothing is sent about `name` from `since` to `until`, wall seconds."""

    name: str
    since: float
    until: float
    because: str = ""

    def holds(self, wall: float) -> bool:
        """False too when the clock was set back by far: it would last longer than it was meant to."""
        return self.since - CLOCK_BACK_SECONDS <= wall < self.until


class Acknowledgement(Struct, frozen=True):
    """An operator handles this alert since then, wall seconds: it is not repeated."""

    since: float
    because: str = ""


Mutes = Mapping[str, Mute]
Acknowledged = Mapping[str, Acknowledgement]


def named(name: str, rule: str, fingerprint: str) -> bool:
    """Whether `name` means this alert. The fingerprint of an alert without a subject ends in a colon.

    Several rules on one figure are named by it and their threshold: the figure's name means all of them.
    """
    figure = re.split("[<>]", rule, maxsplit=1)[0]
    return name in (ALL, rule, fingerprint, figure, figure + fingerprint.removeprefix(rule))


def mute_of(mutes: Mutes, rule: str, fingerprint: str, wall: float) -> Mute | None:
    """The mute that holds this alert back and ends last; None for none."""
    found = [m for m in mutes.values() if m.holds(wall) and named(m.name, rule, fingerprint)]
    return max(found, key=lambda mute: mute.until, default=None)


def current(mutes: Mutes, wall: float) -> dict[str, Mute]:
    """Those that have not ended."""
    return {name: mute for name, mute in mutes.items() if mute.holds(wall)}


def record(mutes: Mutes, acknowledged: Acknowledged) -> dict[str, Any]:
    """Both as JSON."""
    return {
        "mutes": [asdict(mute) for mute in mutes.values()],
        "acknowledged": {fingerprint: asdict(entry) for fingerprint, entry in acknowledged.items()},
    }


def read(kept: object, wall: float) -> tuple[dict[str, Mute], dict[str, Acknowledgement]]:
    """The content of a record, without what has ended. A record that is damaged counts as empty.

    One that has not begun stays: a machine whose clock is behind when it starts has the right time soon after.
    """
    try:
        if not isinstance(kept, dict):
            return {}, {}
        found = [
            Mute(str(m["name"]), _time(m["since"]), _time(m["until"]), str(m["because"])[:MAX_WHY_CHARS])
            for m in kept["mutes"][:MAX_MUTES]
        ]
        mutes = {m.name: m for m in found if m.until - m.since <= MAX_SECONDS}
        acknowledged = {
            str(fingerprint): Acknowledgement(_time(entry["since"]), str(entry["because"])[:MAX_WHY_CHARS])
            for fingerprint, entry in list(kept["acknowledged"].items())[:MAX_ACKNOWLEDGED]
        }
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
        return {}, {}
    return {name: mute for name, mute in mutes.items() if wall < mute.until}, acknowledged


def _time(value: object) -> float:
    """Raises ValueError or TypeError."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise ValueError("no time")
    return float(value)


def next_end(mutes: Iterable[Mute], wall: float) -> float | None:
    """When the next of them ends, wall seconds."""
    return min((mute.until for mute in mutes if mute.until > wall), default=None)
