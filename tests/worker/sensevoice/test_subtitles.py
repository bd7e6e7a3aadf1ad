from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.worker.sensevoice.subtitles import (
    CAPTION_SECONDS,
    CAPTION_WIDTH,
    Timed,
    captions_of,
    srt,
    vtt,
    words_of,
)
from modelward.worker.sensevoice.transcript import Segment


def segment(tokens: list[str], step: float = 0.5, start: float = 0.0, times: list[float] | None = None) -> Segment:
    places = times or [start + step * i for i in range(len(tokens))]
    text = "".join(tokens).strip()
    return Segment(start, places[-1] + step if places else 1.0, text, "en", "", "", tuple(tokens), tuple(places))


@pytest.mark.parametrize(
    ("tokens", "words"),
    [
        ([" the", " quick", "er", " fox", "."], ["the", "quicker", "fox."]),
        (["你", "好", "，", "世", "界", "。"], ["你", "好，", "世", "界。"]),
        (["好", " hello", "世"], ["好", "hello", "世"]),
        (["3", ".", "1", "4"], ["3.14"]),
        (["a", " ", "b"], ["a", "b"]),
        (["a ", "b"], ["a", "b"]),
        ([" ", " "], []),
    ],
)
def test_tokens_become_words(tokens: list[str], words: list[str]) -> None:
    assert [word.text for word in words_of(segment(tokens))] == words or not words


def test_a_word_lasts_to_the_next_but_not_through_a_pause() -> None:
    words = words_of(segment([" one", " two", " three"], times=[0.0, 0.4, 5.0]))
    assert [(w.start, w.end) for w in words] == [(0.0, 0.4), (0.4, 1.4), (5.0, 5.5)]


def test_a_word_of_many_tokens_lasts_to_its_last_sound_and_a_late_mark_adds_nothing() -> None:
    [number] = words_of(segment(["5", "5", "5", "1", "2", "."], times=[0.2, 0.5, 0.7, 1.3, 1.9, 4.0]))
    assert (number.text, number.start, number.end) == ("55512.", 0.2, 2.9)


def test_a_segment_without_token_times_is_one_word() -> None:
    assert words_of(Segment(1.0, 2.0, "hello there", "en", "", "")) == [Timed("hello there", 1.0, 2.0)]
    assert words_of(Segment(1.0, 2.0, "", "en", "", "")) == []


def test_captions_end_at_sentences_and_pauses() -> None:
    sentences = segment([" One", ".", " Two", " three", "?", " Four"], 0.3)
    assert [c.text for c in captions_of([sentences])] == ["One.", "Two three?", "Four"]
    pause = segment([" before", " after"], times=[0.0, 4.0])
    assert [(c.text, c.start) for c in captions_of([pause])] == [("before", 0.0), ("after", 4.0)]


@given(
    st.lists(
        st.tuples(st.sampled_from([" word", "er", "，", "。", "你", ".", " ", " 好"]), st.floats(0, 3)),
        min_size=1,
        max_size=200,
    )
)
def test_captions_hold_the_whole_text_in_order_and_stay_readable(tokens: list[tuple[str, float]]) -> None:
    now, times = 0.0, []
    for _, gap in tokens:
        now += gap
        times.append(round(now, 2))
    spoken = segment([token for token, _ in tokens], times=times)
    captions = captions_of([spoken])
    assert "".join("".join(c.text for c in captions).split()) == "".join(spoken.text.split())
    assert all(one.end <= other.start for one, other in zip(captions, captions[1:], strict=False))
    for caption in captions:
        assert caption.start <= caption.end
        assert caption.end - caption.start <= CAPTION_SECONDS or " " not in caption.text
        assert len(caption.text) <= CAPTION_WIDTH + 200


def test_writes_srt_and_vtt() -> None:
    captions = [Timed("a < b & c", 0.0, 1.5), Timed("你好", 3661.0014, 3662.9996)]
    assert srt(captions) == ("1\n00:00:00,000 --> 00:00:01,500\na < b & c\n\n2\n01:01:01,001 --> 01:01:03,000\n你好\n")
    assert vtt(captions) == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:01.500\na &lt; b &amp; c\n\n01:01:01.001 --> 01:01:03.000\n你好\n"
    )
    assert srt([]) == "" and vtt([]) == "WEBVTT\n"
