"""A table is read whole, with every mistake at once, and never changes afterwards."""

from __future__ import annotations

from typing import Annotated, Literal

import pytest

from modelward.daemon.config.schema_base import (
    Check,
    ConfigTable,
    Field,
    Mistaken,
)


def _even(value: object) -> int:
    if not isinstance(value, int) or value % 2:
        raise ValueError("it is odd; an even number")
    return value


class Leaf(ConfigTable):
    even: Annotated[int, Check(_even)]
    on: bool = False


class Branch(Leaf):
    kind: Literal["a", "b"] = "a"
    leaves: tuple[Leaf, ...] = Field((), alias="leaf", description="Those below.")
    twice: Annotated[int, Check(_even)] = Field(default_factory=lambda given: 2 * given["even"])


def mistakes(table: dict[str, object]) -> dict[tuple[int | str, ...], str]:
    with pytest.raises(Mistaken) as wrong:
        Branch.model_validate(table)
    return {found.place: found.kind for found in wrong.value.found}


def test_reads_a_table_with_its_defaults_and_those_that_rest_on_other_fields() -> None:
    read = Branch.model_validate({"even": 4, "leaf": ({"even": 2, "on": True},)})
    assert (read.even, read.kind, read.twice) == (4, "a", 8)
    assert read.leaves == (Leaf(even=2, on=True),)
    assert repr(read.leaves[0]) == "Leaf(even=2, on=True)"
    assert list(Branch.model_fields) == ["even", "on", "kind", "leaves", "twice"]
    assert Branch.model_fields["leaves"].description == "Those below."


def test_finds_every_mistake_at_its_place() -> None:
    assert mistakes({"even": 3, "on": 1, "kind": True, "leaf": ({"even": 1}, 5, {}), "oak": 0}) == {
        ("even",): "value",
        ("on",): "switch",
        ("kind",): "choice",
        ("leaf", 0, "even"): "value",
        ("leaf", 1): "table",
        ("leaf", 2, "even"): "missing",
        ("oak",): "unknown",
    }
    assert mistakes({"leaf": {}}) == {("even",): "missing", ("leaf",): "list"}


def test_what_is_made_in_code_is_checked_as_well() -> None:
    with pytest.raises(Mistaken, match="even: it is odd; an even number"):
        Leaf(even=1)


def test_never_changes_and_equals_what_holds_the_same() -> None:
    leaf = Leaf(even=2)
    with pytest.raises(AttributeError):
        leaf.even = 4
    with pytest.raises(AttributeError):
        del leaf.even
    other = leaf.model_copy(update={"on": True})
    assert (leaf.on, other.on, leaf == other) == (False, True, False)
    assert leaf == Leaf(even=2) and hash(leaf) == hash(Leaf(even=2))
    assert leaf != Branch(even=2)
