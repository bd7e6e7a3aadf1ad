from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.examples import examples
from tests.worker.sensevoice.vectors import clip

from modelward.worker.sensevoice import segments
from modelward.worker.sensevoice.activity import energies, voiced
from modelward.worker.sensevoice.segments import Span, cut, plan

RATE = 16000


def noise(seconds: float, level: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, level, round(seconds * RATE)).astype(np.float32)


def words(seconds: float, seed: int = 0) -> np.ndarray:
    """Bursts of 0.25 s with 50 ms between them: no pause to cut at."""
    samples = noise(seconds, 0.1, seed)
    place = np.arange(len(samples)) % round(0.3 * RATE)
    return (samples * (place < 0.25 * RATE)).astype(np.float32)


def with_room(parts: list[np.ndarray], level: float) -> np.ndarray:
    samples = np.concatenate(parts)
    return samples + np.random.default_rng(99).normal(0, level, len(samples)).astype(np.float32)


def silence(seconds: float) -> np.ndarray:
    return np.zeros(round(seconds * RATE), dtype=np.float32)


@pytest.mark.parametrize("seconds", [0.01, 1, 29.9, 30])
def test_a_clip_of_up_to_30_seconds_is_one_piece_untouched(seconds: float) -> None:
    samples = words(seconds)
    assert cut(samples) == [Span(0, len(samples))]


def test_an_empty_clip_has_no_pieces() -> None:
    assert cut(silence(0)) == []


@pytest.mark.parametrize("room", [0.0, 1e-4, 2e-3, 1e-2])
def test_cuts_fall_into_pauses_whatever_the_noise_of_the_room(room: float) -> None:
    lengths = [7.0, 11.0, 5.5, 13.0, 9.0, 14.0, 6.0]
    pause = 0.4
    parts = [part for number, length in enumerate(lengths) for part in (words(length, number), silence(pause))]
    starts = np.cumsum([0.0, *[length + pause for length in lengths]])
    pauses = [(starts[n] + lengths[n] - 0.06, starts[n + 1] + 0.02) for n in range(len(lengths))]
    pieces = cut(with_room(parts, room))
    assert len(pieces) >= 3
    for piece in pieces[1:]:
        assert any(begin <= piece.start_seconds <= end for begin, end in pauses), piece.start_seconds
    for piece in pieces[:-1]:
        assert any(begin <= piece.end_seconds <= end for begin, end in pauses), piece.end_seconds


def test_an_early_pause_is_taken_when_there_is_none_later() -> None:
    pieces = cut(np.concatenate([words(4.0), silence(0.5), words(29.0, 1)]))
    assert len(pieces) == 2
    assert 4.0 <= pieces[0].end_seconds <= 4.5
    assert 4.0 <= pieces[1].start_seconds <= 4.5


def test_a_longer_pause_is_preferred_to_a_short_one() -> None:
    parts = [words(15.0), silence(0.9), words(10.0, 1), silence(0.15), words(20.0, 2)]
    pieces = cut(np.concatenate(parts))
    assert 15.0 <= pieces[0].end_seconds <= 15.9


def test_without_any_pause_the_quietest_moment_is_cut() -> None:
    samples = noise(50.0, 0.1)
    dip = round(24.0 * RATE)
    samples[dip : dip + 1600] *= 0.3
    pieces = cut(samples)
    assert [piece.start for piece in pieces[1:]] == [piece.end for piece in pieces[:-1]]
    assert abs(pieces[0].end_seconds - 24.05) < 0.05


def test_a_steady_sound_is_kept_whole() -> None:
    tone = (0.2 * np.sin(2 * np.pi * 300 * np.arange(70 * RATE) / RATE)).astype(np.float32)
    pieces = cut(tone)
    assert pieces[0].start == 0
    assert pieces[-1].end == len(tone)
    assert sum(piece.end - piece.start for piece in pieces) == len(tone)


def test_long_silences_are_left_out() -> None:
    pieces = cut(np.concatenate([silence(20), words(5.0), silence(40), words(6.0, 1), silence(20)]))
    assert len(pieces) == 2
    for piece, (start, end) in zip(pieces, [(20, 25), (65, 71)], strict=True):
        assert start - 0.6 <= piece.start_seconds <= start
        assert end - 0.06 <= piece.end_seconds <= end + 0.6


@pytest.mark.parametrize("level", [0.0, 1e-5])
def test_an_hour_of_silence_has_no_pieces(level: float) -> None:
    assert cut(noise(120.0, level)) == []


def test_a_constant_offset_is_no_voice() -> None:
    assert cut(silence(60) + np.float32(0.3)) == []


def test_quiet_speech_beside_loud_speech_is_kept() -> None:
    samples = with_room([words(20.0) * 5, silence(0.5), words(20.0, 1) * 0.15, silence(1.0)], 3e-4)
    covered = np.zeros(len(samples), dtype=bool)
    for piece in cut(samples):
        covered[piece.start : piece.end] = True
    quiet = covered[round(20.6 * RATE) : round(40.3 * RATE)]
    assert quiet.mean() > 0.99


def test_real_clips_in_a_row_are_never_cut_inside() -> None:
    one, other = clip("en.wav"), clip("zh.wav")
    gap = silence(0.7)
    pieces = cut(np.concatenate([one, gap, other, gap] * 5))
    period = len(one) + len(other) + 2 * len(gap)
    for piece in pieces[1:]:
        place = piece.start % period
        near = [0, len(one), len(one) + len(gap), len(one) + len(gap) + len(other), period]
        inside = min(abs(place - edge) for edge in near) > 0.75 * RATE
        assert not inside or place % RATE  # a pause of the speaker's own is a fair place too


@settings(max_examples=examples(150))
@given(
    st.lists(st.tuples(st.integers(1, 900), st.integers(1, 700)), min_size=1, max_size=40),
    st.integers(0, 2**32 - 1),
    st.integers(120, 3000),
)
def test_pieces_hold_all_voice_once_in_order_and_are_short_enough(
    runs: list[tuple[int, int]], seed: int, limit: int
) -> None:
    voice = np.concatenate([np.repeat([True, False], run) for run in runs])
    energy = np.random.default_rng(seed).uniform(-60, 0, len(voice)).astype(np.float32)
    loud = voice & (np.random.default_rng(seed).random(len(voice) // 50 + 1) < 0.5).repeat(50)[: len(voice)]
    pieces = plan(voice, loud, energy, limit)
    covered = np.zeros(len(voice), dtype=int)
    for start, end in pieces:
        assert 0 <= start < end <= len(voice)
        assert end - start <= limit
        covered[start:end] += 1
    assert covered.max(initial=0) <= 1
    assert covered[voice].all()
    assert pieces == sorted(pieces)
    assert all(voice[start:end].any() for start, end in pieces)


@settings(max_examples=examples(25))
@given(st.lists(st.tuples(st.floats(0.2, 12), st.floats(0.0, 0.5), st.floats(0, 4)), min_size=3, max_size=12))
def test_spans_hold_all_voiced_samples_of_any_clip(parts: list[tuple[float, float, float]]) -> None:
    samples = np.concatenate([piece for s, level, gap in parts for piece in (noise(s, level), silence(gap))])
    samples = samples[: max(1, len(samples) - 77)]
    spans = cut(samples)
    covered = np.zeros(len(samples), dtype=bool)
    position = 0
    for span in spans:
        assert position <= span.start < span.end <= len(samples)
        assert span.end - span.start <= 30 * RATE
        covered[span.start : span.end] = True
        position = span.end
    if len(samples) > 30 * RATE:
        flags = np.repeat(voiced(energies(samples)), 160)[: len(samples)]
        assert covered[flags].all()


def test_an_hour_is_cut_without_copies_of_itself() -> None:
    samples = np.tile(np.concatenate([words(9.0), silence(0.5)]), 379)
    tracemalloc.start()
    try:
        pieces = segments.cut(samples)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(pieces) > 100
    assert peak < samples.nbytes / 4
