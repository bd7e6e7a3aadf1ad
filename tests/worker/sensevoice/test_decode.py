from __future__ import annotations

import numpy as np
import pytest

from modelward.worker.sensevoice.decode import (
    BadOutput,
    Decoded,
    decode,
    greedy,
)
from modelward.worker.sensevoice.tokens import Vocabulary

PIECES = (
    "<unk>", "<s>", "</s>", "\u2581he", "llo", "\u2581", "你", "<|zh|>", "<|en|>", "<|HAPPY|>", "<|Speech|>",
    "<|woitn|>", "<0xE4>", "<0xBD>", "<0xA0>", "<|BGM|>",
)  # fmt: skip
TABLE = Vocabulary(PIECES)
TAGS = ["<|zh|>", "<|HAPPY|>", "<|Speech|>", "<|woitn|>"]


def said(*pieces: str) -> Decoded:
    return decode(np.array([PIECES.index(piece) for piece in pieces], dtype=np.int64), TABLE)


def test_tags_are_read_from_the_first_four_frames() -> None:
    answer = said(*TAGS, "\u2581he", "llo")
    assert (answer.language, answer.emotion, answer.event, answer.textnorm) == ("zh", "HAPPY", "Speech", "woitn")
    assert answer.text == "hello"


def test_a_blank_tag_frame_costs_no_text() -> None:
    answer = said("<|zh|>", "<unk>", "<unk>", "<|woitn|>", "\u2581he", "llo")
    assert (answer.language, answer.emotion, answer.event, answer.text) == ("zh", "", "", "hello")


def test_text_that_begins_with_the_piece_of_the_last_tag_frame_is_kept() -> None:
    answer = said("<|zh|>", "<|HAPPY|>", "<|Speech|>", "你", "你", "llo")
    assert (answer.textnorm, answer.text) == ("", "你llo")


def test_repeats_merge_and_a_blank_between_them_keeps_them_apart() -> None:
    answer = said(*TAGS, "llo", "llo", "<unk>", "llo", "你", "你")
    assert answer.tokens == ("llo", "llo", "你")
    assert answer.times == (0.0, 0.18, 0.24)


def test_times_begin_at_the_frame_after_the_tags() -> None:
    answer = said(*TAGS, *["<unk>"] * 17, "你")
    assert answer.times == (1.02,)


def test_tags_and_control_pieces_in_the_text_do_not_leak() -> None:
    answer = said(*TAGS, "\u2581he", "<|BGM|>", "<s>", "llo", "</s>", "<|en|>")
    assert (answer.text, answer.tokens) == ("hello", (" he", "llo"))


def test_byte_pieces_become_the_character_they_spell() -> None:
    answer = said(*TAGS, "\u2581he", "<0xE4>", "<0xBD>", "<0xA0>", "llo", "<0xE4>")
    assert answer.tokens == (" he", "你", "llo", "\ufffd")
    assert answer.times == (0.0, 0.06, 0.24, 0.3)
    assert answer.text == "he你llo\ufffd"


@pytest.mark.parametrize("frames", range(5))
def test_fewer_frames_than_tags_are_no_text(frames: int) -> None:
    answer = said(*TAGS[:frames])
    assert answer.text == ""
    assert answer.tokens == ()


@pytest.mark.parametrize("wrong", [16, 25000, -1])
def test_an_id_outside_the_vocabulary_is_bad_output(wrong: int) -> None:
    with pytest.raises(BadOutput, match=f"id {wrong}, but there are 16 tokens"):
        decode(np.array([7, 9, 10, 11, wrong]), TABLE)


def test_greedy_takes_the_best_of_each_frame() -> None:
    assert greedy(np.array([[0, 1, 0.5], [3, 2, 1]], dtype=np.float32)).tolist() == [1, 0]
    assert greedy(np.zeros((0, 3), dtype=np.float32)).tolist() == []


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("place", [(0, 0), (1, 2), (2, 1)])
def test_an_answer_that_is_not_finite_is_bad_output(bad: float, place: tuple[int, int]) -> None:
    logits = np.zeros((3, 3), dtype=np.float32)
    logits[place] = bad
    with pytest.raises(BadOutput, match="not finite"):
        greedy(logits)
