"""The files beside a generated model that let other runtimes load the same version: sherpa-onnx's and funasr-onnx's.

sherpa-onnx reads `tokens.txt` and the metadata in the graph; funasr-onnx decodes with a SentencePiece model, written
here by hand: a list of pieces is all that decoding asks of it. Modelward needs none of these.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx

PIECES_MODEL = "chn_jpn_yue_eng_ko_spectok.bpe.model"
BESIDE = ("am.mvn", "tokens.json", "tokens.txt", "config.yaml", PIECES_MODEL)
_NORMAL, _UNKNOWN, _CONTROL = 1, 2, 3
_LANGUAGES = {"auto": 0, "zh": 3, "en": 4, "yue": 7, "ja": 11, "ko": 12}


def describe(
    model: onnx.ModelProto, vocabulary: int, shift: npt.NDArray[np.float32], scale: npt.NDArray[np.float32]
) -> None:
    """Writes the metadata that sherpa-onnx ends without; `shift` and `scale` are float32 [560]."""
    values = {
        "model_type": "sense_voice_ctc",
        "vocab_size": vocabulary,
        "lfr_window_size": 7,
        "lfr_window_shift": 6,
        "normalize_samples": 0,
        "with_itn": 14,
        "without_itn": 15,
        **{f"lang_{name}": number for name, number in _LANGUAGES.items()},
        "neg_mean": ",".join(f"{value:.6g}" for value in shift),
        "inv_stddev": ",".join(f"{value:.6g}" for value in scale),
    }
    del model.metadata_props[:]
    for key, value in values.items():
        model.metadata_props.add(key=key, value=str(value))


def write_tokens(directory: Path, pieces: Sequence[str]) -> None:
    """The table of pieces in the three forms that are read."""
    (directory / "tokens.json").write_text(json.dumps(list(pieces), ensure_ascii=False))
    (directory / "tokens.txt").write_text("".join(f"{piece} {number}\n" for number, piece in enumerate(pieces)))
    (directory / PIECES_MODEL).write_bytes(sentencepiece_model(pieces))


def sentencepiece_model(pieces: Sequence[str]) -> bytes:
    """A SentencePiece `ModelProto` with these pieces: text, score and kind of each, in protobuf's wire format."""
    out = bytearray()
    for number, piece in enumerate(pieces):
        kind = _UNKNOWN if number == 0 else _CONTROL if piece in ("<s>", "</s>") else _NORMAL
        text = piece.encode()
        entry = b"\x0a" + _varint(len(text)) + text + b"\x15" + struct.pack("<f", -float(number)) + bytes([0x18, kind])
        out += b"\x0a" + _varint(len(entry)) + entry
    return bytes(out)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])
