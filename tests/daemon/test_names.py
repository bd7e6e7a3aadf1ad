"""Which names are versions and how they compare."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.daemon.names import (
    Version,
    compare,
    is_higher,
    is_version_name,
    order_key,
    version_key,
    why_ignored,
)

NAMES = [
    "v1",
    "v1.0",
    "v1.9",
    "v1.10",
    "v1.10-rc1",
    "v1.10-rc2",
    "model-2",
    "1.2.3",
    "2024-07-17",
    "m-20240717",
    "experimental",
    "model-int8",
    "",
]
names = st.one_of(st.sampled_from(NAMES), st.text("v.-_rc0129a", max_size=8), st.text(max_size=20))
arrivals = st.floats(min_value=0, max_value=2e9)


@pytest.mark.parametrize("name", ["v1.0", "sensevoice-small-onnx-quant-v1.1", "模型-v2", "with space", "a" * 255])
def test_takes_printable_names_as_versions(name: str) -> None:
    assert is_version_name(name)


@pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "v1.tmp", "v1.part", "v1~", "a/b", "a\nb", "a" * 256])
def test_ignores_hidden_unfinished_and_unprintable_names(name: str) -> None:
    assert not is_version_name(name)


@pytest.mark.parametrize(
    ("name", "because"),
    [
        (" ", "only spaces"),
        ("\u3000 ", "can't be printed"),
        ("-v9", "begins with -"),
        ("--help", "begins with -"),
        ("a\nb", "can't be printed"),
        ("v1\x1b[31m", "can't be printed"),
        ("\udcff", "can't be printed"),
        ("a" * 256, "more than 255 bytes"),
    ],
)
def test_a_name_that_commands_or_people_could_not_use_is_ignored_with_its_reason(name: str, because: str) -> None:
    assert not is_version_name(name)
    assert because in why_ignored(name)


@pytest.mark.parametrize("name", ["v1", "v1.tmp", ".hidden", "v1~", "with space", "v-1"])
def test_nothing_is_reported_about_versions_and_copies_in_progress(name: str) -> None:
    assert why_ignored(name) == ""


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        ("sensevoice-small-onnx-quant-v1.1", (1, 1)),
        ("model-2", (2,)),
        ("model_v1_2", (1, 2)),
        ("1.2.3", (1, 2, 3)),
        ("V3", (3,)),
        ("2024-07-17", (2024, 7, 17)),
        ("sensevoice-2024.07.17", (2024, 7, 17)),
        ("sensevoice-2024-07-17", (2024, 7, 17)),
        ("m-20240717", (20240717,)),
        ("v1.0", (1,)),
        ("v0", (0,)),
    ],
)
def test_reads_the_trailing_version(name: str, numbers: tuple[int, ...]) -> None:
    assert version_key(name) == Version(numbers)


@pytest.mark.parametrize("name", ["experimental", "model-int8", "wav2vec2", "fp16", "v1.2-broken", "v1.", "v", "v١"])
def test_finds_no_version_in_other_endings(name: str) -> None:
    assert version_key(name) is None


@pytest.mark.parametrize(
    ("lower", "higher"),
    [
        ("v1.9", "v1.10"),
        ("v1.0", "v1.0.1"),
        ("v1.1-rc1", "v1.1"),
        ("v1.1-rc1", "v1.1-rc2"),
        ("v1.1-beta3", "v1.1-rc1"),
        ("v1.0", "v1.1-rc1"),
        ("2023-12-31", "2024-01-01"),
        ("zebra", "v0.1"),
    ],
)
def test_compares_versions_as_numbers(lower: str, higher: str) -> None:
    assert compare(lower, higher) == -1
    assert compare(higher, lower) == 1
    assert is_higher(higher, 0, lower, 0)
    assert not is_higher(lower, 0, higher, 0)


def test_a_name_without_a_version_is_above_its_like_by_arrival_only() -> None:
    assert is_higher("apple", 2.0, "zebra", 1.0)
    assert not is_higher("zebra", 1.0, "apple", 2.0)
    assert not is_higher("zebra", 9.0, "v0.1", 1.0)


def test_two_spellings_of_one_version_are_not_above_each_other() -> None:
    assert not is_higher("v1.0", 2.0, "1", 1.0)
    assert not is_higher("1", 1.0, "v1.0", 2.0)


@given(st.lists(st.tuples(names, arrivals), min_size=3, max_size=3))
def test_the_order_is_total(three: list[tuple[str, float]]) -> None:
    a, b, c = three
    assert compare(a[0], b[0], a[1], b[1]) == -compare(b[0], a[0], b[1], a[1])
    assert (compare(a[0], b[0], a[1], b[1]) == 0) == (order_key(*a) == order_key(*b)) == (a == b)
    if order_key(*a) <= order_key(*b) <= order_key(*c):
        assert order_key(*a) <= order_key(*c)


@given(st.tuples(names, arrivals), st.tuples(names, arrivals), st.tuples(names, arrivals))
def test_being_higher_agrees_with_the_order_and_never_goes_in_circles(
    a: tuple[str, float], b: tuple[str, float], c: tuple[str, float]
) -> None:
    if is_higher(*a, *b):
        assert not is_higher(*b, *a)
        assert order_key(*a) > order_key(*b)
        if is_higher(*b, *c):
            assert is_higher(*a, *c)
