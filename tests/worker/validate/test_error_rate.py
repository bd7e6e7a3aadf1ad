"""Error rates count what people would call errors."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.worker.validate.error_rate import (
    Errors,
    compare,
    distance,
    normalised,
    total,
)


@pytest.mark.parametrize(
    ("heard", "expected", "wrong", "length"),
    [
        ("hello", "hello", 0, 5),
        ("Hello, World!", "hello world", 0, 11),
        ("１２３", "123", 0, 3),
        ("你好。", "你好", 0, 2),
        ("你号", "你好", 1, 2),
        ("", "abc", 3, 3),
        ("abc", "", 3, 0),
        ("", "", 0, 0),
        ("kitten", "sitting", 3, 7),
        ("a\u3000 b\n", "a b", 0, 3),
    ],
)
def test_counts_edits_of_normalised_text(heard: str, expected: str, wrong: int, length: int) -> None:
    assert compare(heard, expected) == Errors(wrong, length)


def test_a_set_weighs_clips_by_their_length() -> None:
    assert total([Errors(1, 1), Errors(0, 9)]).rate == 0.1
    assert total([]).rate == 0.0


def test_text_where_silence_was_expected_is_an_error() -> None:
    assert compare("abc", "").rate == 3.0


words = st.text(alphabet="abc ", max_size=12)


@given(words, words, words)
def test_distance_is_a_metric(a: str, b: str, c: str) -> None:
    assert distance(a, b) == distance(b, a)
    assert (distance(a, b) == 0) == (a == b)
    assert distance(a, c) <= distance(a, b) + distance(b, c)
    assert abs(len(a) - len(b)) <= distance(a, b) <= max(len(a), len(b))


@given(st.text(max_size=30))
def test_normalising_twice_changes_nothing_more(text: str) -> None:
    assert normalised(normalised(text)) == normalised(text)
