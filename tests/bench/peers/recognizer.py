"""The recogniser that the general model servers are given: one ONNX Runtime session, features before it, text after.

What somebody writes who serves the published file by himself: loaded as it is, every graph optimisation, long
clips cut every 30 s. Front end and decoding are modelward's own code, so that only the serving differs.
"""

from __future__ import annotations

import io
import wave
from pathlib import Path

import numpy as np
import onnxruntime as ort

from modelward.worker.sensevoice import (
    decode,
    files,
    frontend,
    tokens,
)

WINDOW_SECONDS = 30


class Recognizer:
    """The version that `link` names at this moment; `version` is its name."""

    def __init__(self, link: str | Path, threads: int) -> None:
        directory = Path(link).resolve()
        found = files.find(directory)
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        self.session = ort.InferenceSession(str(found.model), options, providers=["CPUExecutionProvider"])
        assert found.cmvn is not None
        self.normalisation = files.read_cmvn(found.cmvn)
        self.vocabulary = tokens.read(found.tokens)
        self.version = directory.name

    def text(self, wav: bytes) -> str:
        with wave.open(io.BytesIO(wav)) as f:
            samples = np.frombuffer(f.readframes(f.getnframes()), "<i2").astype(np.float32) / 32768
        window = WINDOW_SECONDS * frontend.SAMPLE_RATE
        pieces = [self.piece(samples[at : at + window]) for at in range(0, max(1, len(samples)), window)]
        return " ".join(filter(None, pieces))

    def piece(self, samples: np.ndarray) -> str:
        x = frontend.apply_cmvn(frontend.stack(frontend.fbank(samples)), *self.normalisation)
        if not len(x):
            return ""
        scalars = {"speech_lengths": len(x), "language": 0, "textnorm": 15}
        feeds = {"speech": x[None]} | {name: np.array([value], np.int32) for name, value in scalars.items()}
        logits = self.session.run(["ctc_logits"], feeds)[0][0]
        return decode.decode(decode.greedy(logits), self.vocabulary).text
