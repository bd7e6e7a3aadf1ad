"""From samples to the numbers SenseVoice was trained on: Kaldi's log-mel filter bank, stacked frames, normalisation.

Pure arithmetic, no I/O and no randomness: dither is 0, so that the same samples always give the same features. The
constants are those of the published models (Kaldi fbank with a Hamming window, `snip_edges`, 80 bins; seven frames
stacked every six) and must not be tuned: a model only understands the features it was trained on.
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
_FFT_BINS: Final = _FFT_SIZE // 2  # Kaldi leaves the Nyquist bin out
_LOW_HZ: Final = 20.0
_HIGH_HZ: Final = SAMPLE_RATE / 2
_PREEMPHASIS: Final = 0.97
_SCALE: Final = 32768.0  # the models were trained on 16-bit values
_FLOOR: Final = np.float32(1.1920929e-07)  # Kaldi's epsilon: digital silence becomes -15.94
_BLOCK_FRAMES: Final = 256  # a block stays in the cache, and a long clip never exists in several copies


def frame_count(samples: int) -> int:
    """How many 10 ms frames a clip of so many samples has; 0 when it is shorter than one window."""
    return 1 + (samples - WINDOW_SAMPLES) // SHIFT_SAMPLES if samples >= WINDOW_SAMPLES else 0


def stacked_count(samples: int) -> int:
    """How many 60 ms frames the model sees for a clip of so many samples."""
    return -(-frame_count(samples) // STACK_SHIFT)


def fbank(samples: npt.NDArray[np.floating]) -> Floats:
    """Log-mel energies, float32 [frames, 80], of mono 16 kHz samples in [-1, 1]; [0, 80] below 400 samples.

    Kaldi's `ComputeFbank` with dither 0 and snip_edges: per frame remove the mean, pre-emphasis 0.97, Hamming window,
    power spectrum of 512 points, triangles on the mel scale, natural logarithm.
    """
    signal = np.asarray(samples, dtype=np.float32)
    if signal.ndim != 1:
        raise ValueError(f"cannot compute features: samples have {signal.ndim} dimensions, expected 1")
    frames = frame_count(len(signal))
    out = np.empty((frames, MEL_BINS), dtype=np.float32)
    for start in range(0, frames, _BLOCK_FRAMES):
        stop = min(start + _BLOCK_FRAMES, frames)
        piece = signal[start * SHIFT_SAMPLES : (stop - 1) * SHIFT_SAMPLES + WINDOW_SAMPLES]
        out[start:stop] = _fbank_block(piece)
    return out


def _fbank_block(signal: Floats) -> Floats:
    scaled = signal * np.float32(_SCALE)
    raw = np.lib.stride_tricks.sliding_window_view(scaled, WINDOW_SAMPLES)[::SHIFT_SAMPLES]
    mean = raw.mean(axis=1, dtype=np.float64).astype(np.float32)
    # (x[i]-m) - 0.97 (x[i-1]-m) is the pre-emphasised signal less 0.03 m, so the filter runs once over the block
    emphasised = np.empty_like(scaled)
    emphasised[0] = scaled[0]
    np.multiply(scaled[:-1], np.float32(-_PREEMPHASIS), out=emphasised[1:])
    emphasised[1:] += scaled[1:]
    rest = np.float32(1.0 - _PREEMPHASIS)
    padded = np.zeros((len(raw), _FFT_SIZE), dtype=np.float32)
    frames = padded[:, :WINDOW_SAMPLES]
    view = np.lib.stride_tricks.sliding_window_view(emphasised, WINDOW_SAMPLES)[::SHIFT_SAMPLES]
    np.subtract(view, (rest * mean)[:, None], out=frames)
    frames[:, 0] = rest * (raw[:, 0] - mean)
    frames *= _window()
    spectrum = np.fft.rfft(padded, axis=1)[:, :_FFT_BINS].astype(np.complex64, copy=False)
    power: Floats = np.square(spectrum.real)
    power += np.square(spectrum.imag)
    energies: Floats = power @ _mel_filters()
    np.maximum(energies, _FLOOR, out=energies)
    np.log(energies, out=energies)
    return energies


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
def _mel_filters() -> Floats:
    """Triangles equally spaced and linear in mel, float32 [256, 80] (Kaldi's `MelBanks`)."""
    low, high = _mel(np.array([_LOW_HZ, _HIGH_HZ], dtype=np.float64))
    step = (high - low) / (MEL_BINS + 1)
    left = low + step * np.arange(MEL_BINS)
    bins = _mel(np.arange(_FFT_BINS, dtype=np.float64) * (SAMPLE_RATE / _FFT_SIZE))[:, None]
    rising = (bins - left) / step
    falling = (left + 2 * step - bins) / step
    filters: Floats = np.maximum(0.0, np.minimum(rising, falling)).astype(np.float32)
    filters.setflags(write=False)
    return filters


def _mel(hz: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    mel: npt.NDArray[np.float64] = 1127.0 * np.log1p(hz / 700.0)
    return mel
