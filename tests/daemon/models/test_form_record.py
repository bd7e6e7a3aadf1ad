"""What is remembered of forms: bounded, and of a damaged record nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from modelward.daemon.models.form_record import (
    MAX_LEARNED,
    MAX_LEARNED_BYTES,
    MAX_REFUSED,
    FormState,
    read,
)


def test_what_is_written_is_read_back() -> None:
    state = FormState().plus(refused={"k": "no rewrite pays"}, learned={"g": {"number": 1}}, seconds=12.5)
    assert read(json.loads(json.dumps(state.as_json()))) == state


@pytest.mark.parametrize(
    "record", [None, 5, [], {}, {"refused": 1, "learned": {}, "seconds": 0}, {"refused": {}, "learned": []}]
)
def test_a_record_that_is_none_is_as_good_as_nothing(record: Any) -> None:
    assert read(record) == FormState()


def test_the_oldest_go_when_there_are_too_many() -> None:
    state = FormState()
    for number in range(MAX_REFUSED + 50):
        state = state.plus(refused={f"k{number}": "x" * 10_000}, learned={f"g{number}": {"steps": ["s"] * 100}})
    assert len(state.refused) == MAX_REFUSED and f"k{MAX_REFUSED + 49}" in state.refused
    assert len(state.learned) <= MAX_LEARNED and f"g{MAX_REFUSED + 49}" in state.learned
    big = state.plus(learned={"big": {"steps": ["s" * MAX_LEARNED_BYTES]}})
    assert "big" not in big.learned
