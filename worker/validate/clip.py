"""A clip that looks like speech to a front end: made by arithmetic, the same on every machine.

It is a buzz of harmonics with a falling pitch, shaped by three moving formants. It has syllables with noise bursts
before them and pauses between (source and filter as in Fant, "Acoustic Theory of Speech Production"). It has no
meaning, but it has energy where speech has it, for every part of a recogniser.
"""

from __future__ import annotations

import functools
from typing import Final

import numpy as np
import numpy.typing as npt

SAMPLE_RATE: Final = 16_000
SECONDS: Final = 3.0
_RANDOM_SEED: Final = 16_000
_PITCH_HZ: Final = (165.0, 95.0)
_HARMONICS: Final = 40
_BANDWIDTH_HZ: Final = (90.0, 110.0, 160.0)
# (F1, F2, F3) of a, i, u, e, o in Hz; (begin, end) of each syllable in seconds
_VOWELS: Final = ((730, 1090, 2440), (270, 2290, 3010), (300, 870, 2240), (530, 1840, 2480), (570, 840, 2410))
_SYLLABLES: Final = ((0.30, 0.52), (0.60, 0.84), (0.92, 1.10), (1.45, 1.70), (1.78, 1.98), (2.06, 2.38), (2.46, 2.62))
_BURST_SECONDS: Final = 0.05


@functools.cache
def speech_like_clip() -> npt.NDArray[np.float32]:
    """Three seconds, mono, 16 kHz, [-1, 1], float32 [48000]; always the same bytes on one machine."""
    time = np.arange(int(SECONDS * SAMPLE_RATE)) / SAMPLE_RATE
    noise = np.random.default_rng(_RANDOM_SEED).standard_normal(len(time))
    pitch = np.linspace(*_PITCH_HZ, len(time)) + 4 * np.sin(2 * np.pi * 4.5 * time)
    phase = 2 * np.pi * np.cumsum(pitch) / SAMPLE_RATE
    signal = 0.0005 * noise
    for number, (begin, end) in enumerate(_SYLLABLES):
        voiced, burst = _part(begin, end), _part(begin - _BURST_SECONDS, begin)
        vowels = _VOWELS[number % len(_VOWELS)], _VOWELS[(number + 2) % len(_VOWELS)]
        signal[voiced] += _hill(voiced) * _voice(phase[voiced], pitch[voiced], *vowels)
        signal[burst] += 0.05 * _hill(burst) * np.diff(noise, prepend=0.0)[burst]
    clip: npt.NDArray[np.float32] = (0.5 * signal / np.abs(signal).max()).astype(np.float32)
    clip.setflags(write=False)
    return clip


def _voice(
    phase: npt.NDArray[np.float64], pitch: npt.NDArray[np.float64], first: tuple[int, ...], last: tuple[int, ...]
) -> npt.NDArray[np.float64]:
    """Harmonics whose levels follow formants that glide from one vowel to another; float64, the shape of `phase`."""
    formants = [np.linspace(a, b, len(phase)) for a, b in zip(first, last, strict=True)]
    sound = np.zeros_like(phase)
    for harmonic in range(1, _HARMONICS + 1):
        frequency = harmonic * pitch
        level = sum(
            1 / (1 + ((frequency - formant) / width) ** 2)
            for formant, width in zip(formants, _BANDWIDTH_HZ, strict=True)
        )
        sound += np.where(frequency < SAMPLE_RATE / 2, level / harmonic**0.5, 0.0) * np.sin(harmonic * phase)
    return sound


def _part(begin: float, end: float) -> slice:
    """The samples between two times in seconds."""
    return slice(round(begin * SAMPLE_RATE), round(end * SAMPLE_RATE))


def _hill(part: slice) -> npt.NDArray[np.float64]:
    """A smooth rise and fall over a part; float64, its length."""
    hill: npt.NDArray[np.float64] = np.sin(np.pi * np.linspace(0.0, 1.0, part.stop - part.start)) ** 2
    return hill
