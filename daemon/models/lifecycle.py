"""The states of a version and the events between them: one table, and one function that applies it.

Pure. A pair of state and event that is not in the table raises, so a mistake in the daemon is seen at once. Each
version has one state, and ends in GONE. The words are those of the API.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class VersionState(StrEnum):
    """The state of a version."""

    SEEN = "seen"  # a directory was noticed
    SETTLING = "settling"  # it may still be being copied
    VALIDATING = "validating"  # a validator is at work on it
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    GONE = "gone"  # its directory is no longer there; one that comes back is another candidate


class VersionEvent(StrEnum):
    """What happened to it."""

    UNSETTLED = "unsettled"  # checked: not ready to be validated
    JUDGING = "judging"  # a validator was started on it
    PASSED = "passed"  # the verdict, fresh or remembered for these bytes
    FAILED = "failed"  # likewise; or the workers proved an accepted version wrong
    INTERRUPTED = "interrupted"  # the validator ended without a verdict
    CHANGED = "changed"  # other files than before
    VANISHED = "vanished"  # its directory is gone


class IllegalStep(RuntimeError):
    """A state and an event that do not occur together."""

    def __init__(self, state: VersionState, event: VersionEvent) -> None:
        self.state, self.event = state, event
        super().__init__(f"internal error: a version that is {state} cannot take the event {event!s}")


TABLE: Final[dict[tuple[VersionState, VersionEvent], VersionState]] = {
    (VersionState.SEEN, VersionEvent.UNSETTLED): VersionState.SETTLING,
    (VersionState.SEEN, VersionEvent.JUDGING): VersionState.VALIDATING,
    (VersionState.SEEN, VersionEvent.PASSED): VersionState.ACCEPTED,
    (VersionState.SEEN, VersionEvent.FAILED): VersionState.REJECTED,
    (VersionState.SEEN, VersionEvent.CHANGED): VersionState.SETTLING,
    (VersionState.SEEN, VersionEvent.VANISHED): VersionState.GONE,
    (VersionState.SETTLING, VersionEvent.UNSETTLED): VersionState.SETTLING,
    (VersionState.SETTLING, VersionEvent.JUDGING): VersionState.VALIDATING,
    (VersionState.SETTLING, VersionEvent.PASSED): VersionState.ACCEPTED,
    (VersionState.SETTLING, VersionEvent.FAILED): VersionState.REJECTED,
    (VersionState.SETTLING, VersionEvent.CHANGED): VersionState.SETTLING,
    (VersionState.SETTLING, VersionEvent.VANISHED): VersionState.GONE,
    (VersionState.VALIDATING, VersionEvent.PASSED): VersionState.ACCEPTED,
    (VersionState.VALIDATING, VersionEvent.FAILED): VersionState.REJECTED,
    (VersionState.VALIDATING, VersionEvent.INTERRUPTED): VersionState.SETTLING,
    (VersionState.VALIDATING, VersionEvent.CHANGED): VersionState.SETTLING,
    (VersionState.VALIDATING, VersionEvent.VANISHED): VersionState.GONE,
    (VersionState.ACCEPTED, VersionEvent.JUDGING): VersionState.VALIDATING,
    (VersionState.ACCEPTED, VersionEvent.FAILED): VersionState.REJECTED,
    (VersionState.ACCEPTED, VersionEvent.CHANGED): VersionState.SETTLING,
    (VersionState.ACCEPTED, VersionEvent.VANISHED): VersionState.GONE,
    (VersionState.REJECTED, VersionEvent.JUDGING): VersionState.VALIDATING,
    (VersionState.REJECTED, VersionEvent.CHANGED): VersionState.SETTLING,
    (VersionState.REJECTED, VersionEvent.VANISHED): VersionState.GONE,
}


def step(state: VersionState, event: VersionEvent) -> VersionState:
    """The state after the event. Raises IllegalStep for a pair that is not in the table."""
    try:
        return TABLE[state, event]
    except KeyError:
        raise IllegalStep(state, event) from None


def mermaid() -> str:
    """The table as a Mermaid state diagram, one arrow for each pair of states with all its events."""
    arrows: dict[tuple[VersionState, VersionState], list[str]] = {}
    for (state, event), after in TABLE.items():
        arrows.setdefault((state, after), []).append(event.value)
    lines = [f"    {a.value} --> {b.value}: {', '.join(events)}" for (a, b), events in arrows.items()]
    ends = [f"    [*] --> {VersionState.SEEN.value}", *lines, f"    {VersionState.GONE.value} --> [*]"]
    return "\n".join(["stateDiagram-v2", *ends]) + "\n"
