"""Proof means what it says: every bit at exact, what a client sees at fast."""

from __future__ import annotations

import time

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from modelward.worker.compile import prove
from modelward.worker.compile.prove import ClipAnswer, answer, reading

ids = st.lists(st.integers(0, 3), min_size=4, max_size=30)


def logits(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, (1, 9, 20)).astype(np.float32)


def test_one_bit_is_a_difference() -> None:
    one, other = logits(), logits()
    other[0, 3, 5] = np.nextafter(other[0, 3, 5], np.float32(9))
    assert prove.same_bits(answer([one]), answer([one.copy()]))
    assert not prove.same_bits(answer([one]), answer([other]))
    assert prove.same_reading(answer([one]), answer([other]))


def test_other_outputs_count_too() -> None:
    one = answer([logits(), np.array([9], np.int32)])
    other = answer([logits(), np.array([8], np.int32)])
    assert not prove.same_bits(one, other)
    assert not prove.same_reading(one, other)


def test_ids_are_compared_with_the_ids_of_logits() -> None:
    best = logits().argmax(-1)
    wrong = best.copy()
    wrong[0, 8] += 1
    assert prove.same_bits(answer([logits()]), answer([best]))
    assert not prove.same_bits(answer([logits()]), answer([wrong]))


def test_the_reading_is_tags_tokens_and_where_they_begin() -> None:
    assert reading([9, 8, 7, 6, 0, 5, 5, 0, 5, 3]) == ((9, 8, 7, 6), ((5, 1), (5, 4), (3, 5)))


@given(ids)
def test_a_token_that_lasts_longer_reads_the_same(row: list[int]) -> None:
    longer = [*row, row[-1]] if len(row) > 4 else row
    assert reading(row) == reading(longer)


@given(ids, ids)
def test_another_tag_reads_otherwise(row: list[int], other: list[int]) -> None:
    alike = prove.same_reading(ClipAnswer("", tuple(row), ""), ClipAnswer("", tuple(other), ""))
    assert not alike or row[:4] == other[:4]


def test_much_alike_wants_the_same_number_of_frames() -> None:
    assert not prove.much_alike(ClipAnswer("", (1, 2, 3), ""), ClipAnswer("", (1, 2, 3, 0), ""))
    assert prove.much_alike(ClipAnswer("", (1,) * 10, ""), ClipAnswer("", (1,) * 9 + (2,), ""))


def test_a_clip_at_another_length_is_whole() -> None:
    feeds = {
        "speech": np.arange(12, dtype=np.float32).reshape(1, 3, 4),
        "n": np.array([3], np.int32),
        "l": np.array([7]),
    }
    longer = prove.at_length(feeds, 7)
    assert longer["speech"].shape == (1, 7, 4)
    assert longer["speech"][0, 3].tolist() == feeds["speech"][0, 0].tolist()
    assert longer["n"].tolist() == [7]
    assert longer["n"].dtype == np.int32
    assert prove.at_length(feeds, 2)["speech"].shape == (1, 2, 4)


def test_long_runs_take_turns_and_short_ones_are_run_several_times_a_turn() -> None:
    order: list[str] = []

    def long(name: str) -> None:
        order.append(name)
        until = time.perf_counter() + prove.TURN_SECONDS
        while time.perf_counter() < until:
            pass

    prove.cpu_seconds([lambda: long("a"), lambda: long("b")], 3)
    assert order == ["a", "b"] * 4  # once to see how long it takes
    short: list[str] = []
    prove.cpu_seconds([lambda: short.append("a")], 2)
    assert len(short) == 1 + prove.LEAST_TURNS * prove.MOST_TIMES
