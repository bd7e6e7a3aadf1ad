"""Converts blocks of sound of any rate and channels to 16 kHz, one channel or all of them, within [-1, 1].

It must not know where the blocks come from. Channels are averaged. Channels can cancel each other, for example on a
call that was recorded with one wire reversed. Then the inverted channels are turned first, which changes nothing for
ears or recognisers. Invariant: its output is finite.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt
import soxr

from .limits import NOTHING, AudioLimits, BadAudio, Floats

SAMPLE_RATE: Final = 16_000
MIN_RATE: Final = 4_000
MAX_RATE: Final = 384_000
MAX_CHANNELS: Final = 64
MAX_SPLIT_CHANNELS: Final = 8  # each one is recognised separately
_BLOCK_SAMPLES: Final = 1 << 16  # of all channels together: 7 ms of Opus, which a short clip may have to wait for
_BLOCK_SECONDS: Final = 60
_CANCELLED: Final = 0.1  # of the power of the average of channels with nothing in common


def block_frames(rate: int, channels: int) -> int:
    """Frames read at once: bounded before resampling and, for very low rates, after it."""
    return max(1, min(_BLOCK_SAMPLES // channels, rate * _BLOCK_SECONDS))


def check_form(rate: int, channels: int, *, split: bool) -> None:
    """Raises BadAudio when such audio does not exist or is not accepted."""
    if not MIN_RATE <= rate <= MAX_RATE:
        raise BadAudio(
            "damaged_audio", f"cannot read the audio: its header says {rate} Hz, not {MIN_RATE} to {MAX_RATE}"
        )
    if not 1 <= channels <= MAX_CHANNELS:
        raise BadAudio(
            "unsupported_audio", f"cannot read the audio: it has {channels} channels, at most {MAX_CHANNELS}"
        )
    if split and channels > MAX_SPLIT_CHANNELS:
        raise BadAudio(
            "unsupported_audio", f"cannot split the audio: it has {channels} channels, at most {MAX_SPLIT_CHANNELS}"
        )


class Converter:
    """Takes blocks of any rate and channels, gives 16 kHz mono, and stops when there is more than allowed.

    With `split` it gives all channels, [frames, channels].
    """

    def __init__(self, rate: int, channels: int, limits: AudioLimits, *, split: bool = False) -> None:
        """Raises BadAudio like `check_form`."""
        check_form(rate, channels, split=split)
        self.rate, self.channels = rate, channels
        self._limits, self._frames = limits, 0
        self._mixer = None if split else _Mixer()
        self._resampler: soxr.ResampleStream | None = None
        if rate != SAMPLE_RATE:
            kept = channels if split else 1
            self._resampler = soxr.ResampleStream(rate, SAMPLE_RATE, kept, dtype="float32", quality="HQ")

    def add(self, block: Floats) -> Floats:
        """Adds frames [n, channels]. Raises BadAudio when the clip becomes too long or holds NaN or infinity."""
        self._frames += len(block)
        self._limits.reached(self._frames, self.rate)
        with np.errstate(invalid="ignore"):  # of infinities of both signs; found just below
            kept = block if self._mixer is None else self._mixer.mix(block)
            total = float(kept.sum(dtype=np.float64))
        if not math.isfinite(total):
            raise BadAudio("damaged_audio", "cannot read the audio: it holds samples that are not finite numbers")
        # before the resampler, which would spread one extreme value over its neighbours
        kept = np.ascontiguousarray(np.clip(kept, -1.0, 1.0))
        return kept if self._resampler is None else np.clip(self._resampler.resample_chunk(kept), -1.0, 1.0)

    def finish(self) -> Floats:
        """The last samples. Raises BadAudio when there were none at all."""
        if self._frames == 0:
            raise BadAudio("empty_audio", "cannot read the audio: it holds no samples")
        self._limits.stretch_ended(self._frames, self.rate)
        empty = NOTHING if self._mixer is not None else NOTHING.reshape(0, self.channels)
        if self._resampler is None:
            return empty
        rest: Floats = self._resampler.resample_chunk(empty, last=True)
        return np.clip(rest, -1.0, 1.0)


class _Mixer:
    """Mixes all channels into one. Which channels are turned is kept between blocks, because a change would be
    audible.
    """

    def __init__(self) -> None:
        self._signs: npt.NDArray[np.float64] | None = None

    def mix(self, block: Floats) -> Floats:
        """Frames [n, channels] as [n]."""
        channels = block.shape[1]
        if channels == 1:
            return block[:, 0]
        mono = self._mean(block)
        power = float(np.einsum("ij,ij->", block, block, dtype=np.float64)) / channels
        if float(np.dot(mono, mono)) < _CANCELLED * power / channels:
            self._signs = _signs(block)
            mono = self._mean(block)
        return mono.astype(np.float32, copy=False)

    def _mean(self, block: Floats) -> npt.NDArray[np.float64]:
        if self._signs is None:
            averaged: npt.NDArray[np.float64] = block.mean(axis=1, dtype=np.float64)
            return averaged
        mean: npt.NDArray[np.float64] = (block @ (self._signs / block.shape[1])).astype(np.float64, copy=False)
        return mean


def _signs(block: Floats) -> npt.NDArray[np.float64]:
    """-1 for each channel that is inverted against the loudest, else 1, [channels]."""
    products = block.T.astype(np.float64) @ block
    loudest = int(np.argmax(np.diag(products)))
    return np.where(products[loudest] < 0, -1.0, 1.0).astype(np.float64)
