"""The training data of the recogniser: synthesised telephone lines, good and bad, with the keys in them.

Two tasks. The ear names the key held during one 10 ms frame. The memory finds the 60 ms frame in which a key begins. A
key is written only where it begins. So there are blank frames between two presses of the same key, which CTC needs to
write it twice. Deterministic: one seed, one lesson.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from ..sensevoice import frontend
from . import synth

Labels = npt.NDArray[np.int64]

BLANK: Final = 0  # label 0; label 1 + i is synth.KEYS[i]
LABELS: Final = 1 + len(synth.KEYS)
IGNORE: Final = -1
_RATE: Final = frontend.SAMPLE_RATE
_CLIP_SECONDS: Final = 3.0
_BOUNDARY_FRAMES: Final = 0.8  # a key that begins this near to a 60 ms boundary may be written on either side


class Lesson(Struct, frozen=True):
    """One clip: log-mel frames [t, 80], the key of each frame [t] (IGNORE: unclear), the key of each 60 ms frame."""

    features: frontend.Floats
    frame_keys: Labels
    stacked_keys: Labels


def lessons(count: int, seed: int) -> list[Lesson]:
    """`count` clips; every fifth holds no key at all."""
    rng = np.random.default_rng(seed)
    return [_lesson(rng, dialled=i % 5 != 4) for i in range(count)]


def _lesson(rng: np.random.Generator, *, dialled: bool) -> Lesson:
    total = round(_CLIP_SECONDS * _RATE)
    presses = _presses(rng, total) if dialled else []
    line = synth.TelephoneLine(rng.uniform(-42.0, 0.0), rng.uniform(-4.0, 4.0), rng.uniform(-0.012, 0.012))
    signal = synth.render(presses, total, line) + _background(rng, total, line, dialled=dialled)
    features = frontend.fbank(synth.quantize(signal))
    return Lesson(features, _frame_keys(presses, len(features)), _stacked_keys(presses, len(features)))


def _presses(rng: np.random.Generator, total: int) -> list[synth.Press]:
    presses: list[synth.Press] = []
    at = 0.0 if rng.random() < 0.2 else rng.uniform(0.0, 0.4)  # some clips are cut right at the first tone
    key = ""
    while True:
        tone, gap = rng.uniform(0.06, 0.16), rng.uniform(0.07, 0.16)
        if rng.random() < 0.3:
            tone += rng.uniform(0.0, 0.4)
        if rng.random() < 0.3:
            gap += rng.uniform(0.0, 0.6)
        if (at + tone) * _RATE > total:
            return presses
        key = key if key and rng.random() < 0.25 else synth.KEYS[int(rng.integers(len(synth.KEYS)))]
        presses.append(synth.Press(key, round(at * _RATE), round(tone * _RATE)))
        at += tone + gap


def _background(rng: np.random.Generator, total: int, line: synth.TelephoneLine, *, dialled: bool) -> synth.Signal:
    """Under tones: nothing, or noise 0 to 50 dB below them. Alone: any sound, at any level."""
    colour = float(rng.choice([0.0, 0.0, 0.5, 1.0, 2.0]))
    if dialled:
        if rng.random() < 0.25:
            return np.zeros(total)
        return synth.noise(total, rng, colour) * synth.tone_rms(line) * synth.amplitude(-rng.uniform(2.0, 50.0))
    kind = int(rng.integers(6))
    loud = synth.amplitude(line.level_db)
    if kind <= 1:
        return synth.steady_tones(total, rng) * loud
    if kind <= 3:
        return synth.babble(total, rng) * loud + synth.noise(total, rng) * loud * 0.003
    if kind == 4:
        return synth.noise(total, rng, colour) * loud * 0.25
    return np.zeros(total)


def _frame_keys(presses: list[synth.Press], frames: int) -> Labels:
    """The key that fills most of each frame's window; IGNORE where it fills about half."""
    start = np.arange(frames) * frontend.SHIFT_SAMPLES
    keys = np.full(frames, BLANK, dtype=np.int64)
    for press in presses:
        end = np.minimum(start + frontend.WINDOW_SAMPLES, press.start + press.samples)
        filled = (end - np.maximum(start, press.start)) / frontend.WINDOW_SAMPLES
        keys[filled > 0.3] = IGNORE
        keys[filled > 0.65] = 1 + synth.KEYS.index(press.key)
    return keys


def _stacked_keys(presses: list[synth.Press], frames: int) -> Labels:
    """The key in the one 60 ms frame (two, at a boundary) in which it begins.

    Stacked row i stands for the frames 6i-3 … 6i+2; the seventh is shared with the row after.
    """
    rows = -(-frames // frontend.STACK_SHIFT)
    keys = np.full(rows, BLANK, dtype=np.int64)
    for press in presses:
        down = max(0.0, (press.start - frontend.WINDOW_SAMPLES / 2) / frontend.SHIFT_SAMPLES)
        for frame in (down - _BOUNDARY_FRAMES, down, down + _BOUNDARY_FRAMES):
            row = (int(np.ceil(max(frame, 0.0))) + frontend.STACK_FRAMES // 2) // frontend.STACK_SHIFT
            keys[min(row, rows - 1)] = 1 + synth.KEYS.index(press.key)
    return keys
