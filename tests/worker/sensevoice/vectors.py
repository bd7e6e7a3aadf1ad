"""The clips, models and answers of other runtimes under tests/vectors."""

from __future__ import annotations

import json
import wave
from pathlib import Path

import numpy as np
import numpy.typing as npt

VECTORS = Path(__file__).parents[2] / "vectors"
MODELS = (VECTORS / "model-funasr", VECTORS / "model-sherpa")
CLIPS = ("en.wav", "zh.wav", "melody.wav", "silence.wav", "tone440_0.5.wav")
EXPECTED = json.loads((VECTORS / "expected.json").read_text(encoding="utf-8"))


def clip(name: str) -> npt.NDArray[np.float32]:
    """Samples of a clip in [-1, 1]."""
    with wave.open(str(VECTORS / name)) as w:
        assert (w.getframerate(), w.getnchannels(), w.getsampwidth()) == (16000, 1, 2)
        return np.frombuffer(w.readframes(w.getnframes()), "<i2").astype(np.float32) / np.float32(32768)
