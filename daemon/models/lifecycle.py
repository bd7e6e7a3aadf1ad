"""What may become of a version: one table, one door.

Pure. Any pair of state and event that is not in the table raises, so an impossible move is a bug that shows. Each
version present has exactly one state, and one that is gone ends in GONE; the words are those of the API.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class State(StrEnum):
    """Where a version stands."""

    SEEN = "seen"  # a directory was noticed
    SETTLING = "settling"  # it may still be being copied
    VALIDATING = "validating"  # a validator is at work on it
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    GONE = "gone"  # its directory is no longer there; one that comes back is another candidate


class Event(StrEnum):
    """What happened to it."""

    UNSETTLED = "unsettled"  # looked at: not ready to be judged
    JUDGING = "judging"  # a validator was started on it
    PASSED = "passed"  # the verdict, fresh or remembered for these bytes
    FAILED = "failed"  # likewise; or the workers proved an accepted version wrong
    INTERRUPTED = "interrupted"  # the validator ended without a verdict
    CHANGED = "changed"  # other files than before
    VANISHED = "vanished"  # its directory is gone


class IllegalStep(RuntimeError):
    """A state and an event that cannot meet."""

    def __init__(self, state: State, event: Event) -> None:
        self.state, self.event = state, event
        super().__init__(f"internal error: a version that is {state} cannot take the event {event!s}")


TABLE: Final[dict[tuple[State, Event], State]] = {
    (State.SEEN, Event.UNSETTLED): State.SETTLING,
    (State.SEEN, Event.JUDGING): State.VALIDATING,
    (State.SEEN, Event.PASSED): State.ACCEPTED,
    (State.SEEN, Event.FAILED): State.REJECTED,
    (State.SEEN, Event.CHANGED): State.SETTLING,
    (State.SEEN, Event.VANISHED): State.GONE,
    (State.SETTLING, Event.UNSETTLED): State.SETTLING,
    (State.SETTLING, Event.JUDGING): State.VALIDATING,
    (State.SETTLING, Event.PASSED): State.ACCEPTED,
    (State.SETTLING, Event.FAILED): State.REJECTED,
    (State.SETTLING, Event.CHANGED): State.SETTLING,
    (State.SETTLING, Event.VANISHED): State.GONE,
    (State.VALIDATING, Event.PASSED): State.ACCEPTED,
    (State.VALIDATING, Event.FAILED): State.REJECTED,
    (State.VALIDATING, Event.INTERRUPTED): State.SETTLING,
    (State.VALIDATING, Event.CHANGED): State.SETTLING,
    (State.VALIDATING, Event.VANISHED): State.GONE,
    (State.ACCEPTED, Event.JUDGING): State.VALIDATING,
    (State.ACCEPTED, Event.FAILED): State.REJECTED,
    (State.ACCEPTED, Event.CHANGED): State.SETTLING,
    (State.ACCEPTED, Event.VANISHED): State.GONE,
    (State.REJECTED, Event.JUDGING): State.VALIDATING,
    (State.REJECTED, Event.CHANGED): State.SETTLING,
    (State.REJECTED, Event.VANISHED): State.GONE,
}


def step(state: State, event: Event) -> State:
    """The state after the event. Raises IllegalStep for a pair that is not in the table."""
    try:
        return TABLE[state, event]
    except KeyError:
        raise IllegalStep(state, event) from None


def mermaid() -> str:
    """The table as a Mermaid state diagram, one arrow for each pair of states with all its events."""
    arrows: dict[tuple[State, State], list[str]] = {}
    for (state, event), after in TABLE.items():
        arrows.setdefault((state, after), []).append(event.value)
    lines = [f"    {a.value} --> {b.value}: {', '.join(events)}" for (a, b), events in arrows.items()]
    ends = [f"    [*] --> {State.SEEN.value}", *lines, f"    {State.GONE.value} --> [*]"]
    return "\n".join(["stateDiagram-v2", *ends]) + "\n"
