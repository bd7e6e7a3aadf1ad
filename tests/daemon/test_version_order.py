"""Which of two versions is newer by their names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.daemon.version_order import Relation, is_higher, order_key, relation, why_unclear

HEADS = ["m-", "", "模型", "m", "model-int8-", "sense voice "]
NUMBERS = ["", "v1", "v1.0", "v1.9", "v1.10", "2", "20240717", "2024-07-17", "20240717-153000", "2024.1", "07-08-2024"]
TAILS = ["", "-rc1", "-rc2", "-final", "-hotfix1", "-2", "-3", "-int8", "-fp16", "-20240717", "-broken", "-beta", "+x"]
built = st.builds(lambda *parts: "".join(parts), *map(st.sampled_from, (HEADS, NUMBERS, TAILS, TAILS)))
names = built | st.text("v.-_rc0129a年", max_size=10) | st.text(max_size=20)
arrivals = st.floats(min_value=0, max_value=2e9)


@pytest.mark.parametrize(
    ("lower", "higher"),
    [
        ("v1.9", "v1.10"),
        ("model_9", "model_10"),
        ("v1.0", "v1.0.1"),
        ("模型v1.9", "模型v2.0"),
        ("modelv1.9", "modelv2.0"),
        ("model", "model-v1"),
        # a suffix counts only where the numbers are equal
        ("v1.1-2", "v1.9"),
        ("v1.0-20240717", "v2.0"),
        ("v1.0-hotfix9", "v1.1"),
        ("v2.0", "v2.1-int8"),
        ("v2.0", "v2.1-final"),
        ("v2.0-int8", "v2.1-fp16"),
        ("v2.0-callcenter", "v2.1-callcenter"),
        ("sensevoice-small-onnx-v1.0", "SenseVoice-Small-onnx-quant-v1.1"),
        ("v1.1-dev", "v1.1-alpha"),
        ("v1.1-alpha", "v1.1-beta3"),
        ("v1.1-beta3", "v1.1-rc1"),
        ("v1.1-rc1", "v1.1-rc2"),
        ("v1.1-rc9", "v1.1-rc10"),
        ("v1.1-rc2", "v1.1"),
        ("v1.1-rc2", "v1.1-final"),
        ("v1.0", "v1.1-rc1"),
        ("v1.1", "v1.1-hotfix1"),
        ("v1.1-hotfix1", "v1.1-hotfix2"),
        ("v1.1", "v1.1-2"),
        ("v1.1-2", "v1.1-10"),
        ("v1.1-20240717", "v1.1-20240801"),
        ("v2.1-int8", "v2.1-int8-hotfix1"),
        # dates
        ("2023-12-31", "2024-01-01"),
        ("m-20240717", "m-2024-07-18"),
        ("m-2024-7-9", "m-2024-7-18"),
        ("m-20240717-153000", "m-20240718-010000"),
        ("m-20240717-153000", "m-20240718"),
        ("m-20240717", "m-20240717-153000"),
        ("m-20240717-2", "m-20240717-3"),
        ("m-20240717-v2", "m-20240718-v1"),
        ("m-2024.9", "m-2024.10"),
        ("m-31Jan2024", "m-2024-02-01"),
        ("模型2024年7月18日", "模型2024年10月1日"),
    ],
)
def test_the_number_counts_first_then_stage_and_suffix(lower: str, higher: str) -> None:
    assert relation(higher, lower) is Relation.HIGHER and relation(lower, higher) is Relation.LOWER
    assert order_key(higher) > order_key(lower)
    assert is_higher(higher, lower) and not why_unclear(higher, lower)


@pytest.mark.parametrize(
    ("one", "other", "because"),
    [
        ("zebra", "v0.1", "differ in more"),
        ("apple", "zebra", "differ in more"),
        ("v2.0", "m-v1.0", "differ in more"),
        ("paraformer-v2", "sensevoice-v1", "differ in more"),
        ("v1.2-broken", "v1.1", "differ in more"),
        ("m-v1.0.bak", "m-v1.0", "differ in more"),
        ("m-07-08-2024", "m-09-08-2024", "differ in more"),
        ("m-v1.9", "m-20240717", "a number and the other a date"),
        ("v2.1", "v2.1-int8", "of no form and int8 none is newer"),
        ("v2.1-fp16", "v2.1-int8", "of fp16 and int8 none is newer"),
        ("v2.1-rc1", "v2.1-int8", "none is newer"),
        ("v1.0-hotfix1", "v1.0-2", "suffixes have no order"),
        ("v1.0-2", "v1.0-20240717", "suffixes have no order"),
    ],
)
def test_what_cannot_be_compared_safely_is_not_compared(one: str, other: str, because: str) -> None:
    assert relation(one, other) is relation(other, one) is Relation.UNCLEAR
    assert because in why_unclear(one, other)


@pytest.mark.parametrize(("one", "other"), [("v1.0", "1"), ("v1", "v1.0.0"), ("v2.0-final", "v2.0"), ("V1", "v1")])
def test_two_spellings_of_one_version_are_the_same(one: str, other: str) -> None:
    assert relation(one, other) is relation(other, one) is Relation.SAME
    assert why_unclear(one, other) == "both mean the same version"


def test_the_table_in_the_documents_is_what_happens() -> None:
    text = (Path(__file__).parents[2] / "docs" / "how-it-works.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(.+?)` \| (newer|the same|unclear) \| `(.+?)` \|", text, re.MULTILINE)
    assert len(rows) > 20
    words = {Relation.HIGHER: "newer", Relation.SAME: "the same", Relation.UNCLEAR: "unclear"}
    assert [words.get(relation(name, than)) for name, _, than in rows] == [word for _, word, _ in rows]


@given(names, names, names)
def test_the_relation_is_a_partial_order(a: str, b: str, c: str) -> None:
    opposite = {Relation.HIGHER: Relation.LOWER, Relation.LOWER: Relation.HIGHER}
    assert relation(b, a) is opposite.get(relation(a, b), relation(a, b))
    assert relation(a, a) is Relation.SAME
    if is_higher(a, b) and is_higher(b, c):
        assert is_higher(a, c)
    if relation(a, b) is Relation.SAME:
        assert relation(a, c) is relation(b, c)


@given(st.lists(st.tuples(names, arrivals), unique=True, max_size=6))
def test_the_order_for_lists_is_total_and_agrees_with_the_relation(versions: list[tuple[str, float]]) -> None:
    ranked = sorted(versions, key=lambda version: order_key(*version))
    assert len({order_key(*version) for version in versions}) == len(versions)
    for i, lower in enumerate(ranked):
        assert not any(is_higher(lower[0], higher[0]) for higher in ranked[i + 1 :])


@given(st.lists(names, unique=True, min_size=2, max_size=8), st.data())
def test_adding_versions_changes_the_order_of_no_others(versions: list[str], data: st.DataObject) -> None:
    some = data.draw(st.lists(st.sampled_from(versions), unique=True))
    everything = sorted(versions, key=order_key)
    assert sorted(some, key=order_key) == [name for name in everything if name in some]
