"""The recogniser's numbers, learnt from `lessons`, and the same computation in numpy.

`learn` runs once a process. The same numpy on the same kind of CPU with the same number of threads learns the same
bits. The ear gets one 10 ms frame. The memory gets the ear's answers in three stacked frames: the one before, this one,
the one after.
"""

from __future__ import annotations

import functools
from typing import Final

import numpy as np
from msgspec import Struct

from ..sensevoice import frontend
from .fit import (
    Floats,
    Net,
    fit,
    softmax,
)
from .lessons import IGNORE, LABELS, lessons

_SEED: Final = 20_230
_LESSONS: Final = 150


class Network(Struct, frozen=True):
    """`shift` and `scale` are the CMVN of one 10 ms frame [80]; ear: 80 → LABELS, memory: 3·7·LABELS → LABELS."""

    shift: Floats
    scale: Floats
    ear: Net
    memory: Net


@functools.cache
def learn() -> Network:
    """About two seconds of arithmetic on one core."""
    course = lessons(_LESSONS, _SEED)
    frames = np.concatenate([lesson.features for lesson in course])
    shift = -frames.mean(axis=0)
    # one scale for all bins: then a change of level stays a constant over the bins, and the graph removes it
    scale = np.full(frontend.MEL_BINS, 1.0 / float(frames.std()), dtype=np.float32)
    keys = np.concatenate([lesson.frame_keys for lesson in course])
    seen = keys != IGNORE
    level_free = _level_free(frames, shift, scale)
    ear = fit(level_free[seen], keys[seen], classes=LABELS, hidden=48, epochs=8, rate=4e-3, seed=_SEED)
    contexts = np.concatenate([context(ear_answers(ear, lesson.features, shift, scale)) for lesson in course])
    rows = np.concatenate([lesson.stacked_keys for lesson in course])
    memory = fit(contexts, rows, classes=LABELS, hidden=64, epochs=40, rate=4e-3, seed=_SEED)
    return Network(shift, scale, ear, memory)


def ear_answers(ear: Net, features: Floats, shift: Floats, scale: Floats) -> Floats:
    """Log-mel frames [t, 80] → the ear's probabilities, stacked [ceil(t/6), 7·LABELS]."""
    return frontend.stack(softmax(ear.logits(_level_free(features, shift, scale))))


def context(heard: Floats) -> Floats:
    """[rows, n] → [rows, 3n]: the row before, the row, the row after; zeros past the ends."""
    padded = np.pad(heard, ((1, 1), (0, 0)))
    return np.concatenate([padded[:-2], padded[1:-1], padded[2:]], axis=1)


def _level_free(features: Floats, shift: Floats, scale: Floats) -> Floats:
    normal = (features + shift) * scale
    free: Floats = normal - normal.mean(axis=1, keepdims=True)
    return free
