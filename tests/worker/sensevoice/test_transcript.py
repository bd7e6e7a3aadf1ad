from __future__ import annotations

import pytest

from modelward.worker.sensevoice.segments import Span
from modelward.worker.sensevoice.transcript import (
    Piece,
    Transcript,
    join,
    join_texts,
)


def span(start: float, end: float) -> Span:
    return Span(round(start * 16000), round(end * 16000))


@pytest.mark.parametrize(
    ("before", "after", "joined"),
    [
        ("hello", "world", "hello world"),
        ("你好", "世界", "你好世界"),
        ("你好。", "世界", "你好。世界"),
        ("你好。", "hello", "你好。hello"),
        ("こんにちは", "世界", "こんにちは世界"),
        ("안녕", "하세요", "안녕 하세요"),
        ("hello", "世界", "hello 世界"),
        ("世界", "hello", "世界 hello"),
        ("Yes.", "No.", "Yes. No."),
        ("", "a", "a"),
        ("a", "", "a"),
        ("", "", ""),
    ],
)
def test_texts_are_joined_the_way_their_script_is_written(before: str, after: str, joined: str) -> None:
    assert join_texts(before, after) == joined


def test_segments_and_token_times_are_in_the_clips_own_time() -> None:
    first, second = Piece("a", tokens=("a",), times=(1.5,)), Piece("b", tokens=("b",), times=(0.06,))
    answer = join([(span(0, 10), first), (span(12.34, 20), second)], 21)
    assert [(s.start, s.end, s.text, s.times) for s in answer.segments] == [
        (0.0, 10.0, "a", (1.5,)),
        (12.34, 20.0, "b", (12.4,)),
    ]
    assert answer.text == "a b"
    assert answer.duration == 21


def test_language_and_emotion_are_those_that_lasted_longest() -> None:
    answer = join(
        [
            (span(0, 10), Piece("a", "en", "HAPPY", "Speech")),
            (span(10, 40), Piece("", "nospeech", "EMO_UNKNOWN", "BGM")),
            (span(40, 55), Piece("b", "zh", "NEUTRAL", "Speech")),
        ],
        55,
    )
    assert (answer.language, answer.emotion, answer.events) == ("zh", "NEUTRAL", ("Speech", "BGM"))
    assert [segment.text for segment in answer.segments] == ["a", "b"]


def test_nothing_heard_is_an_empty_answer() -> None:
    assert join([], 3.5) == Transcript("", (), "nospeech", "EMO_UNKNOWN", (), 3.5)
    assert join([(span(0, 1), Piece())], 1.0) == Transcript("", (), "nospeech", "EMO_UNKNOWN", (), 1.0)
