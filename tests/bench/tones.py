"""Sounds for the SenseVoice-shaped model of the benchmarks: telephone keys, dialled in step with its frames.

Gives samples, what was dialled in them, and the model's inputs for them. Deterministic: one seed, one clip.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from modelward.worker.sensevoice import frontend

Array = npt.NDArray[Any]

KEYS = "123A456B789C*0#D"
LOW, HIGH = (697.0, 770.0, 852.0, 941.0), (1209.0, 1336.0, 1477.0, 1633.0)
RATE, FRAME_SAMPLES = 16000, 960
MEANS, DEVIATIONS = (8.5, 10.2, 11.4, 12.0), (0.155, 0.150, 0.146, 0.144)


def clip(seconds: float, seed: int) -> tuple[Array, str, Array]:
    """Keys dialled on a quiet line: (samples f32 [n] at 16 kHz, what was dialled, key number + 1 of each 60 ms frame).

    Tones begin and end with the model's frames: what a frame holds is never in doubt.
    """
    random = np.random.default_rng(seed)
    frames = round(seconds * RATE) // FRAME_SAMPLES
    labels = np.zeros(frames, np.int64)
    at, dialled = int(random.integers(2, 5)), ""
    while at + 7 < frames:
        key, tone, gap = int(random.integers(len(KEYS))), int(random.integers(3, 6)), int(random.integers(3, 6))
        labels[at : at + tone] = key + 1
        dialled += KEYS[key]
        at += tone + gap
    held = np.roll(np.repeat(labels, FRAME_SAMPLES), -FRAME_SAMPLES // 2)  # a frame's middle is at its number
    time = np.arange(len(held)) / RATE
    pitch = np.stack([np.array(LOW)[(held - 1) // 4], np.array(HIGH)[(held - 1) % 4]])
    tones = np.sin(2 * math.pi * pitch * time).sum(0) * 0.25 * (held > 0)
    return (tones + random.normal(0, 1e-3, len(held))).astype(np.float32), dialled, labels


def features(samples: Array) -> Array:
    """What the model is given for these samples, f32 [T,560]."""
    mean, scale = normalisation()
    return np.asarray(frontend.apply_cmvn(frontend.stack(frontend.fbank(samples)), mean, scale))


def normalisation() -> tuple[Array, Array]:
    """(negative means, inverse deviations), f32 [560] each, near those of the real am.mvn."""
    return tuple(np.tile(np.array(v, np.float32), 140) for v in (MEANS, DEVIATIONS))  # type: ignore[return-value]


def feeds(x: Array, language: int = 0, textnorm: int = 15) -> dict[str, Array]:
    """Inputs of one run on features f32 [T,560], a batch of one."""
    scalars = {"speech_lengths": len(x), "language": language, "textnorm": textnorm}
    return {"speech": x[None]} | {name: np.array([value], np.int32) for name, value in scalars.items()}
