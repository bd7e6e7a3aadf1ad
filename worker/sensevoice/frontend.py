"""From samples to the features that SenseVoice was trained on: Kaldi's log-mel filter bank, stacked frames,
normalisation.

Pure arithmetic, no I/O and no randomness: dither is 0, so that the same samples always give the same features. The
constants are those of the published models (Kaldi fbank with a Hamming window, `snip_edges`, 80 bins; seven frames
stacked every six). They must not be tuned: a model only works with the features that it was trained on.
"""

from __future__ import annotations

import functools
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

SAMPLE_RATE: Final = 16_000
WINDOW_SAMPLES: Final = 400  # 25 ms
SHIFT_SAMPLES: Final = 160  # 10 ms
MEL_BINS: Final = 80
STACK_FRAMES: Final = 7
STACK_SHIFT: Final = 6
FEATURE_SIZE: Final = MEL_BINS * STACK_FRAMES
STACK_SECONDS: Final = STACK_SHIFT * SHIFT_SAMPLES / SAMPLE_RATE  # 60 ms: one frame of the model

_FFT_SIZE: Final = 512
_HALF: Final = _FFT_SIZE // 2  # of the transform; and its bins, as Kaldi leaves the Nyquist bin out
_LOW_HZ: Final = 20.0
_HIGH_HZ: Final = SAMPLE_RATE / 2
_PREEMPHASIS: Final = 0.97
_SCALE: Final = 32768.0  # the models were trained on 16-bit values
_FLOOR: Final = np.float32(1.1920929e-07)  # Kaldi's epsilon: digital silence becomes -15.94
_BLOCK_FRAMES: Final = 128  # a block stays in the cache, and a long clip never exists in several copies


def frame_count(samples: int) -> int:
    """How many 10 ms frames a clip with this many samples has; 0 when it is shorter than one window."""
    return 1 + (samples - WINDOW_SAMPLES) // SHIFT_SAMPLES if samples >= WINDOW_SAMPLES else 0


def fbank(samples: npt.NDArray[np.floating]) -> Floats:
    """Log-mel energies, float32 [frames, 80], of mono 16 kHz samples in [-1, 1]; [0, 80] below 400 samples.

    Kaldi's `ComputeFbank` with dither 0 and snip_edges: for each frame remove the mean, pre-emphasis 0.97, Hamming
    window, power spectrum of 512 points, triangles on the mel scale, natural logarithm.
    """
    signal = np.asarray(samples, dtype=np.float32)
    if signal.ndim != 1:
        raise ValueError(f"cannot compute features: samples have {signal.ndim} dimensions, expected 1")
    count = frame_count(len(signal))
    out = np.empty((count, MEL_BINS), dtype=np.float32)
    block = min(count, _BLOCK_FRAMES)
    frames = np.empty((block, WINDOW_SAMPLES), dtype=np.float32)
    halves, waves = np.empty((2, 2, block, _HALF), dtype=np.float32)
    for start in range(0, count, block or 1):
        n = min(block, count - start)
        _frames(signal[start * SHIFT_SAMPLES : (start + n - 1) * SHIFT_SAMPLES + WINDOW_SAMPLES], frames[:n])
        _energies(frames[:n], halves[:, :n], waves[:, :n], out[start : start + n])
    np.maximum(out, _FLOOR, out=out)
    np.log(out, out=out)
    return out


def _frames(signal: Floats, frames: Floats) -> None:
    """Writes the frames of `signal` to `frames` [n, 400]: mean removed, pre-emphasised, windowed."""
    scaled = signal * np.float32(_SCALE)
    raw = np.lib.stride_tricks.sliding_window_view(scaled, WINDOW_SAMPLES)[::SHIFT_SAMPLES]
    mean = raw.mean(axis=1, dtype=np.float64).astype(np.float32)
    # (x[i]-m) - 0.97 (x[i-1]-m) is the pre-emphasised signal less 0.03 m, so the filter runs once over the block
    emphasised = np.empty_like(scaled)
    emphasised[0] = scaled[0]
    np.multiply(scaled[:-1], np.float32(-_PREEMPHASIS), out=emphasised[1:])
    emphasised[1:] += scaled[1:]
    rest = np.float32(1.0 - _PREEMPHASIS)
    view = np.lib.stride_tricks.sliding_window_view(emphasised, WINDOW_SAMPLES)[::SHIFT_SAMPLES]
    np.subtract(view, (rest * mean)[:, None], out=frames)
    frames[:, 0] = rest * (raw[:, 0] - mean)
    frames *= _window()


def _energies(frames: Floats, halves: Floats, waves: Floats, out: Floats) -> None:
    """Mel energies of `frames` [n, 400] into `out` [n, 80]; `halves` and `waves`, [2, n, 256], are scratch.

    One step of a radix-2 FFT of 512 points (decimation in frequency): the even bins are the transform of the sum of a
    frame's two halves, the odd bins that of their difference. The rest is so small that a matrix product takes half of
    the time of NumPy's FFT.
    """
    tail = frames[:, _HALF:]  # of the second half; the rest of it is zero
    halves[:] = frames[:, :_HALF]
    halves[0, :, : tail.shape[1]] += tail
    halves[1, :, : tail.shape[1]] -= tail
    np.matmul(halves, _transforms(), out=waves)
    np.square(waves, out=waves)
    power = waves[:, :, : _HALF // 2]
    power += waves[:, :, _HALF // 2 :]
    even, odd = power @ _mel_filters()
    np.add(even, odd, out=out)


def stack(features: Floats, m: int = STACK_FRAMES, n: int = STACK_SHIFT) -> Floats:
    """[T, d] → [ceil(T/n), m·d]: row i is frames n·i-m//2 … n·i+m//2 side by side, the edges repeated.

    FunASR's low frame rate (`apply_lfr`); with m=7, n=6 one row stands for 60 ms.
    """
    frames = len(features)
    if frames == 0:
        return np.zeros((0, m * features.shape[1]), dtype=np.float32)
    rows = -(-frames // n)
    index = np.arange(rows)[:, None] * n + np.arange(m)[None, :] - m // 2
    stacked: Floats = features[np.clip(index, 0, frames - 1)].reshape(rows, -1)
    return stacked


def apply_cmvn(stacked: Floats, shift: Floats, scale: Floats) -> Floats:
    """(x + shift) · scale, float32, same shape; `shift` is the negative mean and `scale` the inverse deviation."""
    out = stacked + shift.astype(np.float32)
    out *= scale.astype(np.float32)
    return out


@functools.cache
def _window() -> Floats:
    """Kaldi's Hamming window, float32 [400]."""
    n = np.arange(WINDOW_SAMPLES)
    window: Floats = (0.54 - 0.46 * np.cos(2 * np.pi * n / (WINDOW_SAMPLES - 1))).astype(np.float32)
    window.setflags(write=False)
    return window


@functools.cache
def _transforms() -> Floats:
    """Cosines and sines of the even bins, of the odd bins: float32 [2, 256 samples, 128 cosines then 128 sines]."""
    bins = np.stack([np.arange(0, _HALF, 2), np.arange(1, _HALF, 2)])
    angles = (2 * np.pi / _FFT_SIZE) * np.arange(_HALF)[None, :, None] * bins[:, None, :]
    transforms: Floats = np.concatenate([np.cos(angles), np.sin(angles)], axis=2).astype(np.float32, order="C")
    transforms.setflags(write=False)
    return transforms


@functools.cache
def _mel_filters() -> Floats:
    """Triangles equally spaced and linear in mel (Kaldi's `MelBanks`), float32 [2, 128, 80]: even bins, odd bins."""
    low, high = _mel(np.array([_LOW_HZ, _HIGH_HZ], dtype=np.float64))
    step = (high - low) / (MEL_BINS + 1)
    left = low + step * np.arange(MEL_BINS)
    bins = _mel(np.arange(_HALF, dtype=np.float64) * (SAMPLE_RATE / _FFT_SIZE))[:, None]
    rising = (bins - left) / step
    falling = (left + 2 * step - bins) / step
    triangles = np.maximum(0.0, np.minimum(rising, falling)).astype(np.float32)
    filters: Floats = np.stack([triangles[0::2], triangles[1::2]])
    filters.setflags(write=False)
    return filters


def _mel(hz: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    mel: npt.NDArray[np.float64] = 1127.0 * np.log1p(hz / 700.0)
    return mel
