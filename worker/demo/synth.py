"""Synthesises DTMF key presses (ITU-T Q.23) and the noises that a recogniser must not take for them.

Pure: the same arguments and seed always give the same samples. Samples are mono, 16 kHz, float32 in [-1, 1], rounded to
the 65,536 levels of PCM16, so that a clip is the same from memory and from a file.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from ..sensevoice.frontend import SAMPLE_RATE

Samples = npt.NDArray[np.float32]
Signal = npt.NDArray[np.float64]

KEYS: Final = "0123456789*#ABCD"
_ROWS_HZ: Final = (697.0, 770.0, 852.0, 941.0)
_COLUMNS_HZ: Final = (1209.0, 1336.0, 1477.0, 1633.0)
_KEYPAD: Final = ("123A", "456B", "789C", "*0#D")
_RAMP_SECONDS: Final = 0.004  # softer edges than a switch, so that a press makes no click


class Press(Struct, frozen=True):
    """One key held down: first sample and number of samples."""

    key: str
    start: int
    samples: int


class TelephoneLine(Struct, frozen=True):
    """How the telephone sounds: peak level (dBFS), columns above rows (dB), detuning of both frequencies (1 =
    100 %).
    """

    level_db: float = -12.0
    twist_db: float = 0.0
    detune: float = 0.0


def frequencies(key: str) -> tuple[float, float]:
    """Row and column frequency of a key, Hz. Raises ValueError for any other character."""
    for row, keys in zip(_ROWS_HZ, _KEYPAD, strict=True):
        if len(key) == 1 and key in keys:
            return row, _COLUMNS_HZ[keys.index(key)]
    raise ValueError(f"cannot dial {key!r}: the keys are {KEYS}")


def dial(
    digits: str,
    *,
    tone_seconds: float = 0.12,
    gap_seconds: float = 0.12,
    pause_seconds: float = 1.0,
    edge_seconds: float = 0.25,
    level_db: float = -12.0,
    snr_db: float | None = None,
    seed: int = 0,
) -> Samples:
    """A telephone number, float32 [n]: each key `tone_seconds`, then a gap; a space in `digits` is a pause.

    `level_db` is the peak of the tones in dBFS. `snr_db` adds white noise that far below their power (None: no noise).
    `edge_seconds` of silence come first and last. Raises ValueError for a character that is no key.
    """
    presses: list[Press] = []
    at = edge_seconds
    for key in digits:
        if key == " ":
            at += pause_seconds
            continue
        presses.append(Press(key, round(at * SAMPLE_RATE), round(tone_seconds * SAMPLE_RATE)))
        at += tone_seconds + gap_seconds
    total = round((at + edge_seconds) * SAMPLE_RATE)
    line = TelephoneLine(level_db=level_db)
    clean = render(presses, total, line)
    if snr_db is None:
        return quantize(clean)
    return quantize(clean + noise(total, np.random.default_rng(seed)) * tone_rms(line) * amplitude(-snr_db))


def render(presses: Sequence[Press], total: int, line: TelephoneLine) -> Signal:
    """The bare tones, float64 [total], on digital silence."""
    out = np.zeros(total)
    for press in presses:
        stop = min(press.start + press.samples, total)
        out[press.start : stop] += _tone(press, line)[: stop - press.start]
    return out


def _tone(press: Press, line: TelephoneLine) -> Signal:
    seconds = np.arange(press.samples) / SAMPLE_RATE
    row, column = (hz * (1.0 + line.detune) for hz in frequencies(press.key))
    high = amplitude(line.twist_db)
    pair = np.sin(2 * np.pi * row * seconds) + high * np.sin(2 * np.pi * column * seconds)
    ramp = max(1, round(_RAMP_SECONDS * SAMPLE_RATE))
    edge = np.minimum(1.0, (np.arange(press.samples) + 1) / ramp)
    tone: Signal = pair * edge * edge[::-1] * (amplitude(line.level_db) / (1.0 + high))
    return tone


def tone_rms(line: TelephoneLine) -> float:
    """Root mean square of a held key."""
    high = amplitude(line.twist_db)
    return float(amplitude(line.level_db) / (1.0 + high) * np.sqrt((1.0 + high**2) / 2.0))


def noise(total: int, rng: np.random.Generator, colour: float = 0.0) -> Signal:
    """Noise of rms 1, float64 [total]; its power falls with frequency as f^-colour (0 white, 1 pink, 2 brown)."""
    shaped: Signal = rng.standard_normal(total)
    if colour:
        spectrum = np.fft.rfft(shaped)
        spectrum *= np.maximum(np.arange(len(spectrum)), 1.0 + total * 20.0 / SAMPLE_RATE) ** (-colour / 2.0)
        shaped = np.fft.irfft(spectrum, total)
    return shaped / max(float(np.sqrt(np.mean(shaped**2))), 1e-12)


def steady_tones(total: int, rng: np.random.Generator) -> Signal:
    """One to three sines from 50 to 4000 Hz that are no pair of the keypad: hum, whistles, ringing."""
    seconds = np.arange(total) / SAMPLE_RATE
    out = np.zeros(total)
    for _ in range(int(rng.integers(1, 4))):
        hz = float(np.exp(rng.uniform(np.log(50.0), np.log(4000.0))))
        out += rng.uniform(0.2, 1.0) * np.sin(2 * np.pi * hz * seconds + rng.uniform(0, 6.28))
    if rng.random() < 0.5:
        out *= np.sin(2 * np.pi * rng.uniform(0.5, 4.0) * seconds) > 0
    return out / max(float(np.abs(out).max()), 1e-12)


def babble(total: int, rng: np.random.Generator) -> Signal:
    """A sound like speech: gliding harmonics under moving formants, in syllables. Peak 1, float64 [total]."""
    seconds = np.arange(total) / SAMPLE_RATE
    glide = 1.0 + 0.2 * np.sin(2 * np.pi * rng.uniform(0.3, 2.0) * seconds + rng.uniform(0, 6.28))
    pitch_hz = rng.uniform(80.0, 260.0) * glide
    phase = 2 * np.pi * np.cumsum(pitch_hz) / SAMPLE_RATE
    formants = [
        (centre * (1.0 + 0.25 * np.sin(2 * np.pi * rng.uniform(1.0, 5.0) * seconds + rng.uniform(0, 6.28))), width)
        for centre, width in ((500.0, 120.0), (1500.0, 200.0), (2500.0, 300.0))
    ]
    out = np.zeros(total)
    for harmonic in range(1, 25):
        hz = pitch_hz * harmonic
        gain = sum(np.exp(-(((hz - centre) / width) ** 2)) for centre, width in formants)
        out += (gain + 0.02) / np.sqrt(harmonic) * np.sin(harmonic * phase)
    syllables = np.clip(np.sin(2 * np.pi * rng.uniform(2.0, 5.0) * seconds + rng.uniform(0, 6.28)) + 0.3, 0.0, 1.0)
    out *= syllables
    return out / max(float(np.abs(out).max()), 1e-12)


def amplitude(db: float) -> float:
    """The factor on samples for `db` decibels."""
    return float(10.0 ** (db / 20.0))


def quantize(signal: Signal) -> Samples:
    """The samples as PCM16 would hold them: clipped to [-1, 1), rounded to steps of 1/32768, float32."""
    steps = np.clip(np.rint(signal * 32768.0), -32768, 32767)
    return (steps / 32768.0).astype(np.float32)
