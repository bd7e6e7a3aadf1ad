"""Telephone sounds are what they claim: frequencies, levels, lengths, noise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.worker.demo import synth


@pytest.mark.parametrize("key", list(synth.KEYS))
def test_a_key_sounds_at_its_two_frequencies_and_no_other(key: str) -> None:
    sound = synth.dial(key, tone_seconds=1.0, edge_seconds=0.0, gap_seconds=0.0)
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
    strongest = np.argsort(spectrum)[::-1]
    first = strongest[0]
    second = next(bin for bin in strongest if abs(bin - first) > 10)
    assert tuple(sorted((float(first), float(second)))) == synth.frequencies(key)  # one bin is one hertz


@given(level_db=st.floats(-40, 0))
def test_the_level_is_the_peak_below_full_scale(level_db: float) -> None:
    peak = np.abs(synth.dial("1", tone_seconds=0.5, level_db=level_db)).max()
    assert 20 * np.log10(peak) == pytest.approx(level_db, abs=0.2)


@pytest.mark.parametrize("snr_db", [0.0, 10.0, 30.0])
def test_noise_lies_so_far_below_the_tones_as_asked(snr_db: float) -> None:
    how = {"tone_seconds": 1.0, "level_db": -12.0, "edge_seconds": 0.0, "gap_seconds": 0.0}
    clean, noisy = synth.dial("5", **how), synth.dial("5", **how, snr_db=snr_db)
    measured = 10 * np.log10(np.mean(clean**2) / np.mean((noisy - clean) ** 2))
    assert measured == pytest.approx(snr_db, abs=0.2)


def test_lengths_add_up_and_a_space_is_a_pause() -> None:
    how = {"tone_seconds": 0.1, "gap_seconds": 0.05, "edge_seconds": 0.2}
    assert len(synth.dial("12", **how)) == round((0.2 + 2 * 0.15 + 0.2) * 16_000)
    assert len(synth.dial("1 2", **how, pause_seconds=1.5)) - len(synth.dial("12", **how)) == 24_000


@pytest.mark.parametrize("digits", ["12x", "a", "１"])
def test_refuses_what_is_no_key(digits: str) -> None:
    with pytest.raises(ValueError, match="cannot dial"):
        synth.dial(digits)


def test_the_same_seed_makes_the_same_noise_and_another_does_not() -> None:
    assert np.array_equal(synth.dial("1", snr_db=5.0, seed=3), synth.dial("1", snr_db=5.0, seed=3))
    assert not np.array_equal(synth.dial("1", snr_db=5.0, seed=3), synth.dial("1", snr_db=5.0, seed=4))


@given(st.floats(-4, 4, allow_nan=False))
def test_samples_are_what_a_sound_file_can_hold(value: float) -> None:
    (sample,) = synth.quantize(np.array([value]))
    assert -1.0 <= sample < 1.0
    assert float(sample) * 32768 == round(float(sample) * 32768)
