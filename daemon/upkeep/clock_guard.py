"""Which time ages are counted from when the wall clock jumps: the one judge for sweeps and for rotation.

Pure: a state and the two clocks in, a state and a judgement out. A step forward is not believed until it has stood for
a day, for it would make every file look old; one that is taken back is forgotten at once. A step back is believed at
once: it only makes files look younger, and what is written then must not look old when the clock is set forward again.
Invariant: the trusted time never runs ahead of the wall clock, nor of the time that passed since it was last believed.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from ..units import span

JUMP_SECONDS: Final = 3600.0
STEADY_SECONDS: Final = 86400.0
"""So long a step forward has to stand before it is believed."""
OFF_SECONDS: Final = 7 * 86400.0
"""So long a machine may have been off: a wall clock that is further ahead after a boot is a step forward."""
REFUSE_SECONDS: Final = 60.0
"""So long after a jump nothing goes by its age, whatever is believed."""


class Trust(Struct, frozen=True):
    """`wall` was believed at `elapsed`; `last_*` are the latest look, `steady_since` when the wall last jumped.

    All in seconds; `elapsed` counts from the boot, suspend included. Up to `slack_seconds` ahead are no jump.
    """

    wall: float
    elapsed: float
    last_wall: float
    last_elapsed: float
    steady_since: float
    slack_seconds: float = JUMP_SECONDS

    @classmethod
    def begin(cls, wall: float, elapsed: float) -> Trust:
        """The first look ever believes the wall clock."""
        return cls(wall, elapsed, wall, elapsed, elapsed - REFUSE_SECONDS)

    @classmethod
    def after_boot(cls, good: float, since: float, wall: float, elapsed: float) -> Trust:
        """The first look when it was `good` at the `since` of this boot or before: the machine may have been off."""
        return cls(good, since, wall, elapsed, elapsed - REFUSE_SECONDS, OFF_SECONDS)

    def good(self) -> float:
        """The latest time that is known to have been reached, whatever the wall clock said since."""
        return self.wall + (self.last_elapsed - self.elapsed)


class ClockJudgement(Struct, frozen=True):
    """`now`: count ages from it. `refused`: why nothing may go by its age in this pass, else "".

    `held`: what is reported as long as the wall clock is not believed, else "".
    """

    now: float
    refused: str = ""
    held: str = ""


def judge(trust: Trust, wall: float, elapsed: float) -> tuple[Trust, ClockJudgement]:
    """The next state, and what may be done by ages now."""
    step = (wall - trust.last_wall) - (elapsed - trust.last_elapsed)
    jumped = abs(step) > JUMP_SECONDS
    steady_since = elapsed if jumped else trust.steady_since
    expected = trust.wall + (elapsed - trust.elapsed)
    ahead = wall - expected
    follows = ahead >= -JUMP_SECONDS or trust.slack_seconds == JUMP_SECONDS  # after a boot it may not be set yet
    if (ahead <= trust.slack_seconds and follows) or elapsed - steady_since >= STEADY_SECONDS:
        state = Trust(wall, elapsed, wall, elapsed, steady_since)
    else:
        state = replace(trust, last_wall=wall, last_elapsed=elapsed, steady_since=steady_since)
    believed = state.wall == wall and state.elapsed == elapsed
    held = ""
    if not believed and ahead > 0:
        held = (
            f"the wall clock is {span(ahead)} ahead of the time that passed: files count as that much younger "
            f"until it is right, or has stood so for {span(STEADY_SECONDS)}"
        )
    refused = ""
    if jumped:
        way = "forward" if step > 0 else "back"
        refused = f"the wall clock jumped {span(abs(step))} {way}: ages cannot be trusted"
    elif elapsed - steady_since < REFUSE_SECONDS:
        refused = f"the wall clock jumped less than {span(REFUSE_SECONDS)} ago: ages cannot be trusted"
    return state, ClockJudgement(wall if believed else min(wall, expected), refused, held)
