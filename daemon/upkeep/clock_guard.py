"""Decides from which time ages are counted when the wall clock jumps. Sweeps and rotation both use it.

Pure: a state and the two clocks in, a state and a judgement out. A step forward would make every file look old. So it
counts only after it has lasted for a day, and a step that is taken back is forgotten at once. A step back counts at
once: it only makes files look younger. Files that are written after it must not look old when the clock is set forward
again. Invariant: the trusted time never runs ahead of the wall clock, nor of the time that passed since it was last
believed.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from ..units import span

JUMP_SECONDS: Final = 3600.0
STEADY_SECONDS: Final = 86400.0
"""A step forward is believed after it has lasted for this time."""
OFF_SECONDS: Final = 7 * 86400.0
"""The longest time that a machine may have been off. If the wall clock is further ahead after a boot, that is a
step.
"""
REFUSE_SECONDS: Final = 60.0
"""For this time after a jump nothing is removed by its age."""


class Trust(Struct, frozen=True):
    """What is known of the two clocks. All fields are in seconds; `elapsed` counts from the boot, suspend included.

    `wall` was believed at `elapsed`. `last_*` are from the latest check. `steady_since` is the time of the last jump of
    the wall clock. A difference of at most `slack_seconds` is no jump.
    """

    wall: float
    elapsed: float
    last_wall: float
    last_elapsed: float
    steady_since: float
    slack_seconds: float = JUMP_SECONDS

    @classmethod
    def begin(cls, wall: float, elapsed: float) -> Trust:
        """The very first check believes the wall clock."""
        return cls(wall, elapsed, wall, elapsed, elapsed - REFUSE_SECONDS)

    @classmethod
    def after_boot(cls, good: float, since: float, wall: float, elapsed: float) -> Trust:
        """The first check after a start, when `good` was the time at `since`: the machine may have been off in
        between.
        """
        return cls(good, since, wall, elapsed, elapsed - REFUSE_SECONDS, OFF_SECONDS)

    def good(self) -> float:
        """The latest time that is known to have been reached, whatever the wall clock showed since."""
        return self.wall + (self.last_elapsed - self.elapsed)


class ClockJudgement(Struct, frozen=True):
    """`now`: the time to count ages from. `refused`: why nothing may go by its age in this pass, else "".

    `held`: what is reported as long as the wall clock is not believed, else "". `behind`: the same when it
    shows less than the last known time, as a machine without a battery does until it has asked for the time.
    """

    now: float
    refused: str = ""
    held: str = ""
    behind: str = ""

    @property
    def trouble(self) -> str:
        """Why the wall clock is not to be trusted, "" when it is."""
        return self.refused or self.held or self.behind


def judge(trust: Trust, wall: float, elapsed: float) -> tuple[Trust, ClockJudgement]:
    """The next state, and what may be done by age now."""
    step = (wall - trust.last_wall) - (elapsed - trust.last_elapsed)
    jumped = abs(step) > JUMP_SECONDS
    steady_since = elapsed if jumped else trust.steady_since
    expected = trust.wall + (elapsed - trust.elapsed)
    ahead = wall - expected
    follows = ahead >= -JUMP_SECONDS or trust.slack_seconds == JUMP_SECONDS  # after a boot the clock may not be set yet
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
    behind = (
        f"the wall clock is {span(-ahead)} behind the last time that was known" if not believed and ahead < 0 else ""
    )
    refused = ""
    if jumped:
        way = "forward" if step > 0 else "back"
        refused = f"the wall clock jumped {span(abs(step))} {way}: ages cannot be trusted"
    elif elapsed - steady_since < REFUSE_SECONDS:
        refused = f"the wall clock jumped less than {span(REFUSE_SECONDS)} ago: ages cannot be trusted"
    return state, ClockJudgement(wall if believed else min(wall, expected), refused, held, behind)
