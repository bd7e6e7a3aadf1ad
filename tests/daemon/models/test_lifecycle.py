"""The table of a version's states."""

from __future__ import annotations

import itertools

import pytest

from modelward.daemon.models.lifecycle import (
    TABLE,
    IllegalStep,
    VersionEvent,
    VersionState,
    mermaid,
    step,
)

PAIRS = list(itertools.product(VersionState, VersionEvent))


@pytest.mark.parametrize(("state", "event"), PAIRS)
def test_every_pair_is_in_the_table_or_raises_naming_both(state: VersionState, event: VersionEvent) -> None:
    if (state, event) in TABLE:
        assert step(state, event) is TABLE[state, event]
    else:
        with pytest.raises(IllegalStep, match=f"{state.value}.*{event.value}"):
            step(state, event)


@pytest.mark.parametrize("state", [s for s in VersionState if s is not VersionState.GONE])
def test_a_version_can_vanish_and_change_in_any_state(state: VersionState) -> None:
    assert step(state, VersionEvent.VANISHED) is VersionState.GONE
    assert step(state, VersionEvent.CHANGED) is VersionState.SETTLING


def test_only_a_passed_verdict_leads_to_accepted() -> None:
    assert {event for (_, event), after in TABLE.items() if after is VersionState.ACCEPTED} == {VersionEvent.PASSED}


def test_a_rejected_version_is_accepted_only_through_a_new_verdict() -> None:
    assert {after for (state, _), after in TABLE.items() if state is VersionState.REJECTED} == {
        VersionState.VALIDATING,
        VersionState.SETTLING,
        VersionState.GONE,
    }


def test_every_state_can_be_reached_and_all_but_the_last_can_be_left() -> None:
    assert {after for after in TABLE.values()} == set(VersionState) - {VersionState.SEEN}, "that is where each begins"
    assert {state for state, _ in TABLE} == set(VersionState) - {VersionState.GONE}


def test_the_diagram_shows_every_entry_of_the_table() -> None:
    arrows = [line.split(": ") for line in mermaid().splitlines() if "-->" in line and "[*]" not in line]
    shown = {(ends.split(" --> ")[0].strip(), e) for ends, events in arrows for e in events.split(", ")}
    assert shown == {(state.value, event.value) for state, event in TABLE}
