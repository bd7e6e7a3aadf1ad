"""Cuts a long clip at its pauses into pieces a model can take.

Pure arithmetic on the samples: frame energies against a noise floor that follows the recording. A clip of up to 30 s
is one piece, untouched. In a longer one every voiced frame lies in exactly one piece, pieces are in order, do not
overlap and are at most 30 s; only stretches without voice are left out. A cut falls into a pause wherever one can be
reached, else on the quietest moment.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from .frontend import SAMPLE_RATE, Floats

MAX_PIECE_SECONDS: Final = 30.0

_FRAME: Final = 160  # 10 ms
_PER_SECOND: Final = SAMPLE_RATE // _FRAME
_MAX_FRAMES: Final = int(MAX_PIECE_SECONDS) * _PER_SECOND
_SHORTEST_PAUSE: Final = 12  # 120 ms; shorter gaps are stops inside words
_DROPPED_PAUSE: Final = 2 * _PER_SECOND  # a silence this long always ends a piece and is left out
_PAD: Final = 20  # 200 ms of a pause stay with the voice beside it: soft onsets and endings
_EARLY: Final = 10 * _PER_SECOND  # cuts before this only when there is none later
_FLOOR_WINDOW: Final = 10  # the floor looks this many seconds to each side
_SILENCE_DB: Final = -65.0  # below: never voice
_STEADY_DB: Final = -50.0  # above: a steady sound is kept, it may be voice
_RANGE_DB: Final = 10.0  # less between loud and quiet than this is a steady sound
_QUIET_SMOOTHING: Final = 5  # frames averaged to find the quietest moment


@dataclass(frozen=True)
class Span:
    """Samples start … end (excluded) of a clip."""

    start: int
    end: int

    @property
    def start_seconds(self) -> float:
        """Where the piece begins, in seconds."""
        return self.start / SAMPLE_RATE

    @property
    def end_seconds(self) -> float:
        """Where the piece ends, in seconds."""
        return self.end / SAMPLE_RATE


def cut(samples: Floats) -> list[Span]:
    """The pieces of a mono 16 kHz clip; none for an empty clip or a long one without voice."""
    total = len(samples)
    if total == 0:
        return []
    if total <= _MAX_FRAMES * _FRAME:
        return [Span(0, total)]
    energy = energies(samples)
    frames = plan(voiced(energy), energy)
    return [Span(start * _FRAME, min(end * _FRAME, total)) for start, end in frames]


def energies(samples: Floats) -> Floats:
    """Power of each 10 ms without its mean, in dB below full scale, float32 [ceil(n/160)]; the last may be partial."""
    whole = len(samples) // _FRAME
    rows = samples[: whole * _FRAME].reshape(whole, _FRAME)
    power = np.einsum("ij,ij->i", rows, rows, dtype=np.float64) / _FRAME - rows.mean(axis=1, dtype=np.float64) ** 2
    rest = samples[whole * _FRAME :]
    if len(rest):
        power = np.append(power, float(rest.var(dtype=np.float64)))
    decibels: Floats = (10.0 * np.log10(np.maximum(power, 1e-12))).astype(np.float32)
    return decibels


def voiced(energy: Floats) -> npt.NDArray[np.bool_]:
    """Which frames may hold voice: louder than the noise floor around them, [frames].

    Floor and peak are the quiet and the loud percentiles of each second, the lowest and highest within ten seconds to
    each side. A steady sound has no floor to stand out from; it counts as voice unless it is very quiet.
    """
    floor, peak = _surroundings(energy)
    spread = peak - floor
    threshold = floor + np.clip(0.35 * spread, 4.0, 15.0)
    standing_out = energy > np.maximum(threshold, _SILENCE_DB)
    steady = (spread < _RANGE_DB) & (energy > _STEADY_DB)
    voice: npt.NDArray[np.bool_] = standing_out | steady
    return voice


def _surroundings(energy: Floats) -> tuple[Floats, Floats]:
    seconds = -(-len(energy) // _PER_SECOND)
    padded = np.pad(energy, (0, seconds * _PER_SECOND - len(energy)), mode="edge").reshape(seconds, _PER_SECOND)
    low, high = np.percentile(padded, (10, 95), axis=1)
    # digital silence between takes says nothing of the noise under the voice
    low = np.where(low < _SILENCE_DB, np.maximum(low, _SILENCE_DB), low)
    width = 2 * _FLOOR_WINDOW + 1
    around = [
        np.lib.stride_tricks.sliding_window_view(np.pad(side, _FLOOR_WINDOW, mode="edge"), width)
        for side in (low, high)
    ]
    floor = np.repeat(around[0].min(axis=1), _PER_SECOND)[: len(energy)]
    peak = np.repeat(around[1].max(axis=1), _PER_SECOND)[: len(energy)]
    return floor.astype(np.float32), peak.astype(np.float32)


def plan(voice: npt.NDArray[np.bool_], energy: Floats, limit: int = _MAX_FRAMES) -> list[tuple[int, int]]:
    """Pieces as (first frame, end frame): in order, apart, at most `limit` frames, with all voiced frames in them."""
    pieces: list[tuple[int, int]] = []
    for start, end in _stretches(voice):
        while end - start > limit:
            before, after = _best_cut(voice, energy, start, start + limit)
            pieces.append((start, before))
            start = after
        pieces.append((start, end))
    return [(start, end) for start, end in pieces if voice[start:end].any()]  # not what is padding alone


def _stretches(voice: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Voice with its padding, cut apart at silences of two seconds or more."""
    total = len(voice)
    stretches: list[tuple[int, int]] = []
    for start, end in _runs(voice):
        if stretches and start - stretches[-1][1] < _DROPPED_PAUSE:
            stretches[-1] = (stretches[-1][0], end)
        else:
            stretches.append((start, end))
    return [(max(0, start - _PAD), min(total, end + _PAD)) for start, end in stretches]


def _best_cut(voice: npt.NDArray[np.bool_], energy: Floats, start: int, limit: int) -> tuple[int, int]:
    """(end of this piece, start of the next) for a piece that begins at `start` and must end by `limit`."""
    first_voice = start + int(np.argmax(voice[start:limit])) if voice[start:limit].any() else limit
    pauses = [
        (begin + first_voice, end + first_voice)
        for begin, end in _runs(~voice[first_voice:limit])
        if end - begin >= _SHORTEST_PAUSE
    ]
    if not pauses:
        return (quiet := _quietest(energy, start + (limit - start) // 2, limit)), quiet
    late = [pause for pause in pauses if pause[1] - start > _EARLY]
    begin, end = max(late or pauses, key=lambda pause: _worth(pause, start, limit))
    end += int(np.argmax(voice[end:])) if voice[end:].any() else 0  # the pause may go on beyond the window
    pad = min(_PAD, (end - begin) // 2)
    return min(begin + pad, limit), end - pad


def _worth(pause: tuple[int, int], start: int, limit: int) -> float:
    """Longer pauses are better cuts, up to a second; a later one makes fewer pieces."""
    begin, end = pause
    return min(end - begin, _PER_SECOND) / _PER_SECOND + 0.5 * (begin - start) / (limit - start)


def _quietest(energy: Floats, low: int, high: int) -> int:
    window = energy[low:high].astype(np.float64)
    smooth = np.convolve(window, np.ones(_QUIET_SMOOTHING) / _QUIET_SMOOTHING, mode="valid")
    return low + int(np.argmin(smooth)) + _QUIET_SMOOTHING // 2


def _runs(flags: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """(first, end) of each run of true."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], flags, [False])).astype(np.int8)))
    return [(int(first), int(end)) for first, end in edges.reshape(-1, 2)]
