"""A `now` that ages can be counted from when the wall clock jumps.

Pure: a state and the two clocks in, a state and a verdict out. A step forward is not believed until it has stood for a
day, for it would make every file look old; a step back is believed at once, for it only makes files look younger.
Invariant: the trusted time never runs ahead of the wall clock.
"""

from __future__ import annotations

from dataclasses import dataclass

from .words import span

JUMP_SECONDS = 3600.0
STEADY_SECONDS = 86400.0


@dataclass(frozen=True, slots=True)
class Trust:
    """`wall` was believed at `monotonic`; `last_*` are the latest look, `steady_since` when the wall last jumped."""

    wall: float
    monotonic: float
    last_wall: float
    last_monotonic: float
    steady_since: float

    @classmethod
    def begin(cls, wall: float, monotonic: float) -> Trust:
        """The first look believes the wall clock."""
        return cls(wall, monotonic, wall, monotonic, monotonic)


def look(trust: Trust, wall: float, monotonic: float) -> tuple[Trust, float, str]:
    """The next state, the time to count ages from, and why nothing may be removed now ("" when it may)."""
    step = (wall - trust.last_wall) - (monotonic - trust.last_monotonic)
    jumped = abs(step) > JUMP_SECONDS
    steady_since = monotonic if jumped else trust.steady_since
    expected = trust.wall + (monotonic - trust.monotonic)
    ahead = wall - expected
    if ahead <= JUMP_SECONDS or monotonic - steady_since >= STEADY_SECONDS:
        state = Trust(wall, monotonic, wall, monotonic, steady_since)
        now = wall
    else:
        state = Trust(trust.wall, trust.monotonic, wall, monotonic, steady_since)
        now = expected
    if jumped:
        way = "forward" if step > 0 else "back"
        return state, now, f"the wall clock jumped {span(abs(step))} {way}: ages cannot be trusted"
    return state, now, ""
