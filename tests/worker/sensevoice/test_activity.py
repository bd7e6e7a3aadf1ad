"""What may be voice: nobody is left out for being quiet, beside somebody loud or alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.examples import examples
from tests.worker.sensevoice.vectors import clip

from modelward.worker.demo import synth
from modelward.worker.sensevoice.activity import energies, prominent, voiced
from modelward.worker.sensevoice.frontend import Floats
from modelward.worker.sensevoice.segments import Span, cut

RATE = 16000
TURN_SECONDS = 8  # how long each of two speakers goes on
QUICK_SAMPLES = 1 << 18  # a Fourier transform of so many samples, or of a few times as many, takes little time
VOICED_BELOW_PEAK_DB = 25.0  # what is softer than this beside a speaker's own loudest moment is no voice of his


def conversation(
    seconds: float, levels_db: tuple[float, ...], rng: np.random.Generator, pauses: tuple[float, float] = (0.3, 0.8)
) -> tuple[list[synth.Press], Floats]:
    """Keys in groups with pauses between, dialled in turn at each of these peak levels: the presses and the samples."""
    turns: list[list[synth.Press]] = [[] for _ in levels_db]
    at, left = 0.25, int(rng.integers(3, 12))
    while at < seconds - 0.5:
        held = float(rng.uniform(0.08, 0.16))
        turns[int(at // TURN_SECONDS) % len(turns)].append(
            synth.Press(str(rng.integers(10)), round(at * RATE), round(held * RATE))
        )
        at += held + float(rng.uniform(0.08, 0.14))
        left -= 1
        if left == 0:
            at, left = at + float(rng.uniform(*pauses)), int(rng.integers(3, 12))
    total = round(seconds * RATE)
    lines = [synth.TelephoneLine(level_db=level) for level in levels_db]
    samples = sum((synth.render(p, total, line) for p, line in zip(turns, lines, strict=True)), np.zeros(total))
    return [press for turn in turns for press in turn], samples.astype(np.float32)


def in_noise(samples: Floats, level_db: float, rng: np.random.Generator, colour: float = 0.0) -> Floats:
    whole = -(-len(samples) // QUICK_SAMPLES) * QUICK_SAMPLES
    noisy: Floats = (samples + synth.noise(whole, rng, colour)[: len(samples)] * synth.amplitude(level_db)).astype(
        np.float32
    )
    return noisy


def covered(pieces: list[Span], samples: int) -> np.ndarray:
    inside = np.zeros(samples, dtype=bool)
    for piece in pieces:
        assert 0 < piece.end - piece.start <= 30 * RATE
        inside[piece.start : piece.end] = True
    return inside


def lost_presses(presses: list[synth.Press], inside: np.ndarray) -> list[synth.Press]:
    return [press for press in presses if not inside[press.start : press.start + press.samples].all()]


def cuts_inside(presses: list[synth.Press], pieces: list[Span]) -> list[int]:
    starts = np.array(sorted(press.start for press in presses))
    ends = {press.start: press.start + press.samples for press in presses}
    places = sorted({place for piece in pieces for place in (piece.start, piece.end)})
    before = [(place, int(starts[np.searchsorted(starts, place) - 1])) for place in places if place > starts[0]]
    return [place for place, start in before if start < place < ends[start]]


@settings(max_examples=examples(40))
@given(
    near_db=st.floats(-20, -3),
    quieter_db=st.floats(6, 27),
    ratio_db=st.floats(0, 8),
    colour=st.sampled_from([0.0, 0.5, 1.0]),
    seconds=st.floats(31, 90),
    pause=st.floats(0.3, 6),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_quiet_speaker_beside_a_loud_one_is_in_the_pieces_whole_and_is_cut_in_pauses(
    near_db: float, quieter_db: float, ratio_db: float, colour: float, seconds: float, pause: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    far_db = near_db - quieter_db
    presses, clean = conversation(seconds, (near_db, far_db), rng, (0.3, 0.31 + pause))
    far_rms_db = 20 * np.log10(synth.tone_rms(synth.TelephoneLine(level_db=far_db)))
    pieces = cut(in_noise(clean, far_rms_db - ratio_db, rng, colour))
    assert lost_presses(presses, covered(pieces, len(clean))) == []
    assert cuts_inside(presses, pieces) == []


@pytest.mark.parametrize("colour", [0.0, 1.0])
@pytest.mark.parametrize("ratio_db", [0.0, 2.0, 4.0, 6.0, 8.0])
def test_no_voiced_frame_of_either_of_two_speakers_is_outside_every_piece(ratio_db: float, colour: float) -> None:
    rng = np.random.default_rng(5)
    parts: list[Floats] = []
    flags: list[np.ndarray] = []
    for name, peak_db in [("en.wav", -3.0), ("zh.wav", -23.0)] * 5:
        said = clip(name) / np.abs(clip(name)).max() * np.float32(synth.amplitude(peak_db))
        level = energies(said)
        voice = np.repeat(level > level.max() - VOICED_BELOW_PEAK_DB, 160)[: len(said)]
        gap = np.zeros(round(float(rng.uniform(0.3, 4)) * RATE), dtype=np.float32)
        parts += [said, gap]
        flags += [voice, np.zeros(len(gap), dtype=bool)]
    quiet_rms = float(np.sqrt(np.mean(parts[2][flags[2]] ** 2)))
    samples = in_noise(np.concatenate(parts), 20 * np.log10(quiet_rms) - ratio_db, rng, colour)
    outside = ~covered(cut(samples), len(samples))
    assert int((outside & np.concatenate(flags)).sum()) == 0


@settings(max_examples=examples(25))
@given(st.floats(-75, -40), st.floats(0, 5), st.integers(0, 2**32 - 1))
def test_a_very_quiet_recording_is_heard_whole(level_db: float, pause: float, seed: int) -> None:
    presses, clean = conversation(62, (level_db,), np.random.default_rng(seed), (0.3, 0.31 + pause))
    pieces = cut(synth.quantize(clean.astype(np.float64)))
    assert lost_presses(presses, covered(pieces, len(clean))) == []


@pytest.mark.parametrize("level_db", [-100.0, -85.0, -70.0, -60.0, -52.0])
@pytest.mark.parametrize("colour", [0.0, 0.3])
def test_a_steady_quiet_noise_has_no_pieces(level_db: float, colour: float) -> None:
    nothing = np.zeros(100 * RATE, dtype=np.float32)
    assert cut(in_noise(nothing, level_db, np.random.default_rng(1), colour)) == []


def test_pauses_in_the_noise_of_a_room_are_left_out() -> None:
    rng = np.random.default_rng(2)
    presses, clean = conversation(300, (-12.0,), rng, (4.0, 12.0))
    for colour in (0.0, 0.5):
        pieces = cut(in_noise(clean, -50.0, rng, colour))
        assert lost_presses(presses, covered(pieces, len(clean))) == []
        assert covered(pieces, len(clean)).mean() < 0.5


@settings(max_examples=examples(40))
@given(st.lists(st.floats(-120, 0), min_size=1, max_size=60), st.floats(0, 12), st.integers(0, 2**32 - 1))
def test_whatever_is_prominent_is_voiced(levels: list[float], spread: float, seed: int) -> None:
    steps = np.repeat(np.array(levels, dtype=np.float32), 70)
    energy = np.clip(steps + np.random.default_rng(seed).normal(0, spread, len(steps)), -120, 0).astype(np.float32)
    assert not (prominent(energy) & ~voiced(energy)).any()


def test_energies_are_decibels_of_each_ten_milliseconds() -> None:
    silent = np.zeros(160, dtype=np.float32)
    samples = np.concatenate([silent, np.tile([0.5, -0.5], 80), [0.1] * 70]).astype(np.float32)
    assert np.allclose(energies(samples), [-120, -6.0206, -120], atol=1e-3)


def test_an_offset_and_rumble_are_no_energy() -> None:
    seconds = np.arange(RATE) / RATE
    samples = (0.3 + 0.1 * np.sin(2 * np.pi * 5 * seconds)).astype(np.float32)
    assert energies(samples).max() < -60
