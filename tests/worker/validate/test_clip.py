"""The built-in clip is always the same and has energy where speech has it."""

from __future__ import annotations

import numpy as np

from modelward.worker.sensevoice import frontend
from modelward.worker.validate.clip import SAMPLE_RATE, speech_like_clip


def test_is_the_same_every_time_and_within_range() -> None:
    clip = speech_like_clip()
    assert clip.dtype == np.float32 and clip.shape == (3 * SAMPLE_RATE,)
    assert np.isclose(np.abs(clip).max(), 0.5)
    speech_like_clip.cache_clear()
    assert np.array_equal(clip, speech_like_clip())


def test_has_syllables_pauses_and_low_frequencies_like_a_voice() -> None:
    energies = frontend.fbank(speech_like_clip())
    loudness = energies.mean(axis=1)
    assert np.percentile(loudness, 90) - np.percentile(loudness, 5) > 5
    loud = energies[loudness > np.median(loudness)]
    assert loud[:, :40].mean() > loud[:, 60:].mean() + 1
