"""Cuts a long clip at its pauses into pieces that a model can take.

Pure arithmetic on what `activity` finds in the samples. A clip of up to 30 s is one piece, unchanged, or none when
nothing in it is voiced. In a longer one, and in any clip when silence is left out, every voiced frame is in exactly one
piece. Pieces are in order, do not overlap and are at most 30 s; only stretches without voice are left out. A cut is
made in a pause if one is in reach, else at the quietest moment.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from msgspec import Struct

from .activity import (
    FRAME,
    PER_SECOND,
    Flags,
    energies,
    prominent,
    voiced,
)
from .frontend import SAMPLE_RATE, Floats

MAX_PIECE_SECONDS: Final = 30.0

_MAX_FRAMES: Final = int(MAX_PIECE_SECONDS) * PER_SECOND
_SHORTEST_PAUSE: Final = 12  # 120 ms; shorter gaps are stops inside words
_DROPPED_PAUSE: Final = 2 * PER_SECOND  # a silence this long always ends a piece and is left out
_EDGE: Final = 50  # 500 ms of it stay with the voice beside it, whose soft begin and end is below the noise
_PAD: Final = 20  # 200 ms of a shorter pause
_EARLY: Final = 10 * PER_SECOND  # an earlier cut is made only when there is no later one
_QUIET_SMOOTHING: Final = 5  # frames averaged to find the quietest moment


class Span(Struct, frozen=True):
    """Samples start … end (excluded) of a clip, or of one of its channels where these were split."""

    start: int
    end: int
    channel: int | None = None

    @property
    def start_seconds(self) -> float:
        """Where the piece begins, in seconds."""
        return self.start / SAMPLE_RATE

    @property
    def end_seconds(self) -> float:
        """Where the piece ends, in seconds."""
        return self.end / SAMPLE_RATE


def cut(samples: Floats, *, trim: bool = False) -> list[Span]:
    """The pieces of a mono 16 kHz clip; none where there is no voice.

    With `trim` silence is left out of short clips as well.
    """
    total = len(samples)
    if total == 0:
        return []
    energy = energies(samples)
    voice = voiced(energy)
    if total <= _MAX_FRAMES * FRAME and not trim:
        return [Span(0, total)] if voice.any() else []
    frames = plan(voice, prominent(energy), energy)
    return [Span(start * FRAME, min(end * FRAME, total)) for start, end in frames]


def plan(voice: Flags, loud: Flags, energy: Floats, limit: int = _MAX_FRAMES) -> list[tuple[int, int]]:
    """Pieces as (first frame, end frame): in order, apart, at most `limit` frames, with all voiced frames in them.

    `loud` are the frames that are certainly no pause. Where all is voice, cuts are between them.
    """
    pieces: list[tuple[int, int]] = []
    for start, end in _stretches(voice):
        while end - start > limit:
            before, after = _best_cut(voice, loud, energy, start, start + limit)
            pieces.append((start, before))
            start = after
        pieces.append((start, end))
    return [(start, end) for start, end in pieces if voice[start:end].any()]  # not a piece of padding only


def _stretches(voice: Flags) -> list[tuple[int, int]]:
    """Voice with its edges, cut apart at silences of two seconds or more."""
    total = len(voice)
    stretches: list[tuple[int, int]] = []
    for start, end in _runs(voice):
        if stretches and start - stretches[-1][1] < _DROPPED_PAUSE:
            stretches[-1] = (stretches[-1][0], end)
        else:
            stretches.append((start, end))
    return [(max(0, start - _EDGE), min(total, end + _EDGE)) for start, end in stretches]


def _best_cut(voice: Flags, loud: Flags, energy: Floats, start: int, limit: int) -> tuple[int, int]:
    """(end of this piece, start of the next) for a piece that begins at `start` and must end by `limit`.

    Silence is better than sound that is only quiet beside louder voice, and a place late in the piece is better than an
    early one. Nothing is left out at a place that may hold voice.
    """
    silent, quiet = _pauses(voice, start, limit), _pauses(loud, start, limit)
    for pauses in (_late(silent, start), _late(quiet, start), silent, quiet):
        if not pauses:
            continue
        begin, end = max(pauses, key=lambda pause: _worth(pause, start, limit))
        if voice[begin:end].any():
            return (place := _quietest(energy, begin, end)), place
        end += int(np.argmax(voice[end:])) if voice[end:].any() else 0  # the pause may continue after the window
        pad = min(_PAD, (end - begin) // 2)
        return min(begin + pad, limit), end - pad
    return (place := _quietest(energy, start + (limit - start) // 2, limit)), place


def _pauses(taken: Flags, start: int, limit: int) -> list[tuple[int, int]]:
    """The gaps after the first taken frame that are long enough for a pause."""
    first = start + int(np.argmax(taken[start:limit])) if taken[start:limit].any() else limit
    return [(begin + first, end + first) for begin, end in _runs(~taken[first:limit]) if end - begin >= _SHORTEST_PAUSE]


def _late(pauses: list[tuple[int, int]], start: int) -> list[tuple[int, int]]:
    return [pause for pause in pauses if pause[1] - start > _EARLY]


def _worth(pause: tuple[int, int], start: int, limit: int) -> float:
    """The value of a cut. Longer pauses are better, up to a second; a later cut makes fewer pieces."""
    begin, end = pause
    return min(end - begin, PER_SECOND) / PER_SECOND + 0.5 * (begin - start) / (limit - start)


def _quietest(energy: Floats, low: int, high: int) -> int:
    window = energy[low:high].astype(np.float64)
    smooth = np.convolve(window, np.ones(_QUIET_SMOOTHING) / _QUIET_SMOOTHING, mode="valid")
    return low + int(np.argmin(smooth)) + _QUIET_SMOOTHING // 2


def _runs(flags: Flags) -> list[tuple[int, int]]:
    """(first, end) of each run of true."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], flags, [False])).astype(np.int8)))
    return [(int(first), int(end)) for first, end in edges.reshape(-1, 2)]
