"""The demo's model run with nothing of ours but the front end: onnxruntime, and greedy CTC in ten lines."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import onnxruntime

from modelward.worker.sensevoice import frontend

PROMPT_FRAMES: Final = 4


@dataclass(frozen=True)
class Heard:
    """One clip's answer: its text, its four tags, the frame in which each token begins, and the raw logits."""

    text: str
    tags: tuple[str, ...]
    frames: tuple[int, ...]
    logits: np.ndarray


class Ears:
    """A version loaded from its files, one thread."""

    def __init__(self, directory: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        model = next(directory.glob("*.onnx"))
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.tokens = json.loads((directory / "tokens.json").read_text(encoding="utf-8"))
        lines = (directory / "am.mvn").read_text(encoding="ascii").splitlines()
        rows = [line.split()[3:-1] for line in lines if line.startswith("<LearnRateCoef>")]
        self.shift, self.scale = (np.array(row, dtype=np.float32) for row in rows)

    def features(self, samples: np.ndarray) -> np.ndarray:
        return frontend.apply_cmvn(frontend.stack(frontend.fbank(samples)), self.shift, self.scale)

    def hear(self, *clips: np.ndarray, language: int = 0, textnorm: int = 15) -> list[Heard]:
        """All clips in one batch, padded with zeros."""
        features = [self.features(clip) for clip in clips]
        speech = np.zeros((len(clips), max(map(len, features)), 560), dtype=np.float32)
        for row, values in zip(speech, features, strict=True):
            row[: len(values)] = values
        feed = {
            "speech": speech,
            "speech_lengths": np.array([len(values) for values in features], dtype=np.int32),
            "language": np.full(len(clips), language, dtype=np.int32),
            "textnorm": np.full(len(clips), textnorm, dtype=np.int32),
        }
        logits, lengths = self.session.run(["ctc_logits", "encoder_out_lens"], feed)
        return [self._read(clip[:length]) for clip, length in zip(logits, lengths, strict=True)]

    def text(self, samples: np.ndarray) -> str:
        return self.hear(samples)[0].text

    def _read(self, logits: np.ndarray) -> Heard:
        ids = logits.argmax(axis=1)
        tags = tuple(self.tokens[i] for i in ids[:PROMPT_FRAMES])
        spoken = ids[PROMPT_FRAMES:]
        begins = [f for f, i in enumerate(spoken) if i and (f == 0 or i != spoken[f - 1])]
        text = "".join(self.tokens[spoken[f]] for f in begins).replace("\u2581", " ").strip()
        return Heard(text, tags, tuple(begins), logits)
