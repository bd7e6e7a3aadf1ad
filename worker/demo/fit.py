"""Fits small networks of two layers (ReLU between, softmax at the end) in numpy: Adam on cross-entropy.

Pure and deterministic: a seed gives the first weights and the order of the examples. It knows nothing about sound.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from msgspec import Struct

Floats = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]

_BATCH: Final = 512
_DECAY1: Final = 0.9
_DECAY2: Final = 0.99
_WEIGHT_DECAY: Final = 1e-4


class Net(Struct, frozen=True):
    """x → relu(x·w1 + b1)·w2 + b2; float32, w1 [in, hidden], w2 [hidden, classes]."""

    w1: Floats
    b1: Floats
    w2: Floats
    b2: Floats

    def logits(self, x: Floats) -> Floats:
        """[n, in] → [n, classes]."""
        out: Floats = np.maximum(x @ self.w1 + self.b1, 0.0) @ self.w2 + self.b2
        return out


def softmax(logits: Floats) -> Floats:
    """Over the last axis."""
    e = np.exp(logits - logits.max(axis=-1, keepdims=True))
    out: Floats = e / e.sum(axis=-1, keepdims=True)
    return out


def fit(x: Floats, y: Labels, *, classes: int, hidden: int, epochs: int, rate: float, seed: int) -> Net:
    """The network that predicts `y` [n] in 0…classes-1 from `x` [n, in]; the step falls from `rate` to 0 as a
    cosine.
    """
    rng = np.random.default_rng(seed)
    params = [
        (rng.standard_normal((x.shape[1], hidden)) * np.sqrt(2.0 / x.shape[1])).astype(np.float32),
        np.zeros(hidden, dtype=np.float32),
        (rng.standard_normal((hidden, classes)) * np.sqrt(1.0 / hidden)).astype(np.float32),
        np.zeros(classes, dtype=np.float32),
    ]
    first = [np.zeros_like(p) for p in params]
    second = [np.zeros_like(p) for p in params]
    per_epoch = -(-len(x) // _BATCH)
    steps = epochs * per_epoch
    for step in range(steps):
        if step % per_epoch == 0:
            order = rng.permutation(len(x))
        pick = order[(step % per_epoch) * _BATCH :][:_BATCH]
        now = rate * 0.5 * (1.0 + np.cos(np.pi * step / steps))
        scale = np.sqrt(1.0 - _DECAY2 ** (step + 1)) / (1.0 - _DECAY1 ** (step + 1))
        for p, g, m, v in zip(params, _gradients(params, x[pick], y[pick]), first, second, strict=True):
            m += (1.0 - _DECAY1) * (g - m)
            v += (1.0 - _DECAY2) * (g * g - v)
            p -= np.float32(now * scale) * m / (np.sqrt(v) + np.float32(1e-7)) + np.float32(now * _WEIGHT_DECAY) * p
    return Net(*params)


def _gradients(params: list[Floats], x: Floats, y: Labels) -> list[Floats]:
    """Gradients of the mean cross-entropy, in the order of `params`."""
    w1, b1, w2, b2 = params
    hidden = np.maximum(x @ w1 + b1, 0.0)
    error = softmax(hidden @ w2 + b2)
    error[np.arange(len(y)), y] -= 1.0
    error /= np.float32(len(y))
    back = (error @ w2.T) * (hidden > 0)
    return [x.T @ back, back.sum(axis=0), hidden.T @ error, error.sum(axis=0)]
