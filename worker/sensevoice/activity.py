"""Finds the moments of a clip that may hold voice, and those loud enough that the gaps between them are pauses.

Pure arithmetic on the samples, in two judgements that never contradict each other. `voiced` is lax: only sound at the
noise floor of the clip is not voice. A quiet speaker beside a loud one is voice, and so is a quiet recording.
`prominent` is strict: everything else is quiet beside the loudest sound of the next two seconds. No level alone makes a
sound silence, except one below the last bit of 16 and 60 dB below the clip's loudest moment.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from .frontend import SAMPLE_RATE, Floats

Flags = npt.NDArray[np.bool_]

FRAME: Final = 160  # samples of 10 ms
PER_SECOND: Final = SAMPLE_RATE // FRAME

_NOTHING_DB: Final = -120.0  # the power of digital silence is one step of 16 bits
_LAST_BIT_DB: Final = -90.0  # one step of 16 bits
_RANGE_DB: Final = 60.0  # sound this far below the loudest moment is the floor, if it is below the last bit too
_FLOOR_WINDOW: Final = 10  # the floor and the peak of a steady sound are taken this many seconds to each side
_PEAK_WINDOW: Final = 2  # a pause is quiet beside the peak this many seconds to each side
_LEAST_MARGIN_DB: Final = 2.0  # white noise never exceeds its own floor by more; voice at 0 dB does
_MOST_MARGIN_DB: Final = 6.0
_MARGIN: Final = 5.0  # this many times the usual step between two frames, the noise is hardly ever higher
_SMOOTHING: Final = 5  # frames averaged for it: as long as the shortest sound of speech
_BELOW_PEAK_DB: Final = 40.0  # sound that is quieter than the peak by this much is a pause on any floor
_STEADY_DB: Final = -50.0  # above this a steady sound is kept, because it may be voice
_STEADY_RANGE_DB: Final = 10.0  # with a smaller difference between loud and quiet a sound is steady


def energies(samples: Floats) -> Floats:
    """Power of each 10 ms without mean and slope, in dB below full scale, float32 [ceil(n/160)].

    In such a short time, offset, hum and rumble appear as mean and slope. The last frame may be partial.
    """
    whole = len(samples) // FRAME
    rows = samples[: whole * FRAME].reshape(whole, FRAME)
    mean = rows.mean(axis=1, dtype=np.float64)
    slope = (rows @ _RAMP).astype(np.float64)
    power = (np.einsum("ij,ij->i", rows, rows, dtype=np.float64) - slope**2) / FRAME - mean**2
    rest = samples[whole * FRAME :]
    if len(rest):
        power = np.append(power, float(rest.var(dtype=np.float64)))
    decibels: Floats = (10.0 * np.log10(np.maximum(power, 10.0 ** (_NOTHING_DB / 10.0)))).astype(np.float32)
    return decibels


def _ramp() -> Floats:
    """A straight line through 0, of length 1, float32 [160]."""
    line = np.arange(FRAME) - (FRAME - 1) / 2.0
    unit: Floats = (line / np.linalg.norm(line)).astype(np.float32)
    return unit


_RAMP: Final = _ramp()


def voiced(energy: Floats) -> Flags:
    """Which frames may hold voice, [frames]: those above the noise floor, even by a little.

    The floor is the lower of the clip's and that of the ten seconds to each side. A steady sound has no floor below it;
    it counts as voice unless it is very quiet. Every prominent frame is voiced.
    """
    low, high = _seconds(energy)
    near, peak = _around(low, _FLOOR_WINDOW, np.minimum), _around(high, _FLOOR_WINDOW, np.maximum)
    floor = _frames(np.minimum(near, np.percentile(low, 10)), len(energy))
    steady = (_frames(peak, len(energy)) - floor < _STEADY_RANGE_DB) & (energy > _STEADY_DB)
    voice: Flags = (_smooth(energy) > floor + _margin(energy)) | steady | prominent(energy)
    return voice


def _margin(energy: Floats) -> Floats:
    """How far the noise around each frame rises above its floor, with rare exceptions, dB [frames].

    It is estimated from the smallest steps between one frame and the next. Voice makes steps only at its edges.
    """
    steps = np.abs(np.diff(energy, prepend=energy[:1]))
    usual = _around(np.median(_by_second(steps), axis=1), _FLOOR_WINDOW, np.minimum)
    return _frames(np.clip(_MARGIN * usual, _LEAST_MARGIN_DB, _MOST_MARGIN_DB), len(energy))


def prominent(energy: Floats) -> Flags:
    """Which frames are no pause, [frames]: louder than the floor around them by a share of the level of the voice
    there.
    """
    low, high = _seconds(energy)
    floor, peak = _around(low, _FLOOR_WINDOW, np.minimum), _around(high, _PEAK_WINDOW, np.maximum)
    threshold = np.maximum(floor + np.clip(0.35 * (peak - floor), 4.0, 15.0), peak - _BELOW_PEAK_DB)
    loud: Flags = energy > _frames(threshold, len(energy))
    return loud


def _seconds(energy: Floats) -> tuple[Floats, Floats]:
    """The quiet and the loud percentile of each second, dB; almost digital silence counts as digital silence."""
    low, high = np.percentile(_by_second(energy), (10, 95), axis=1)
    # digital silence between takes shows nothing about the noise under the voice
    bottom = min(_LAST_BIT_DB, float(energy.max()) - _RANGE_DB)
    return np.maximum(low, bottom), np.maximum(high, bottom)


def _by_second(values: Floats) -> Floats:
    """The frames of each second in a row, [seconds, 100]; the last row is filled up with the last value."""
    seconds = -(-len(values) // PER_SECOND)
    return np.pad(values, (0, seconds * PER_SECOND - len(values)), mode="edge").reshape(seconds, PER_SECOND)


def _around(values: Floats, seconds: int, extreme: np.ufunc) -> Floats:
    """The least or greatest of each second and of the neighbours to each side."""
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(values, seconds, mode="edge"), 2 * seconds + 1)
    found: Floats = extreme.reduce(windows, axis=1)
    return found


def _frames(values: Floats, frames: int) -> Floats:
    """The value of each second for each of its frames."""
    spread: Floats = np.repeat(values, PER_SECOND)[:frames].astype(np.float32)
    return spread


def _smooth(energy: Floats) -> Floats:
    """The mean power of each frame and its two neighbours to each side, dB."""
    power = np.pad(10.0 ** (energy.astype(np.float64) / 10.0), _SMOOTHING // 2, mode="edge")
    mean = np.convolve(power, np.full(_SMOOTHING, 1.0 / _SMOOTHING), mode="valid")
    decibels: Floats = (10.0 * np.log10(mean)).astype(np.float32)
    return decibels
