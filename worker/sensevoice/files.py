"""Finds which files of a version are the model, its tokens and its normalisation, and reads `am.mvn`.

It finds by name only and opens nothing but `am.mvn`. Published versions use different names for the same thing, so
names are preferences, not rules: a single `.onnx` of any name is accepted.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
from msgspec import Struct

from .frontend import FEATURE_SIZE, Floats

# quantised first: where both exist, the large one is the source of the small one
PREFERRED: Final = ("model_quant.onnx", "model.int8.onnx", "model.onnx")
_PYTORCH: Final = (".pt", ".pth", ".ckpt", ".safetensors")
TOKENS: Final = ("tokens.json", "tokens.txt")
CMVN: Final = "am.mvn"
_QUANTISED: Final = ("quant", "int8", "q8")
_MAX_CMVN_BYTES: Final = 1 << 20


class BadSenseVoiceFiles(ValueError):
    """A version that cannot be used as a SenseVoice model; the text names the file and the reason."""


class ModelFiles(Struct, frozen=True):
    """The files of one version. `cmvn` is None when there is no `am.mvn`; then the graph's metadata must have it."""

    model: Path
    tokens: Path
    cmvn: Path | None


def find(directory: Path, model: str = "") -> ModelFiles:
    """The files in `directory`. Raises BadSenseVoiceFiles.

    `model` names the ONNX file, perhaps in a directory below, and wins over every preference.
    """
    try:
        names = sorted(entry.name for entry in directory.iterdir() if entry.is_file())
    except OSError as e:
        raise BadSenseVoiceFiles(f"cannot read {directory.name}: {e.strerror}") from e
    tokens = next((name for name in TOKENS if name in names), None)
    chosen = _named(directory, model) if model else _choose(names)
    if tokens is None:
        first, second = TOKENS
        raise BadSenseVoiceFiles(f"cannot find the tokens: neither {first} nor {second} is there")
    cmvn = directory / CMVN if CMVN in names else None
    return ModelFiles(directory / chosen, directory / tokens, cmvn)


def _named(directory: Path, model: str) -> str:
    if Path(model).is_absolute() or ".." in Path(model).parts or not (directory / model).is_file():
        raise BadSenseVoiceFiles(f"cannot find {model}: no such file in the version")
    return model


def _choose(names: list[str]) -> str:
    for name in PREFERRED:
        if name in names:
            return name
    graphs = [name for name in names if name.endswith(".onnx")]
    if not graphs:
        because = "cannot find a model: no .onnx file is there"
        if other := next((name for name in names if name.endswith(_PYTORCH)), ""):
            because = f"{because}; {other} is for PyTorch: export it, or download the ONNX files instead"
        raise BadSenseVoiceFiles(because)
    quantised = [name for name in graphs if any(mark in name.lower() for mark in _QUANTISED)]
    for candidates in (graphs, quantised):
        if len(candidates) == 1:
            return candidates[0]
    raise BadSenseVoiceFiles(
        f"cannot choose a model: {', '.join(graphs[:5])} are there and none is named {PREFERRED[0]}"
    )


def read_cmvn(path: Path) -> tuple[Floats, Floats]:
    """(shift, scale) from Kaldi's nnet text, float32 [560] each. Raises BadSenseVoiceFiles.

    They are the numbers in brackets after `<AddShift>` and `<Rescale>`.
    """
    try:
        with path.open("rb") as f:
            data = f.read(_MAX_CMVN_BYTES + 1)
    except OSError as e:
        raise BadSenseVoiceFiles(f"cannot read {path.name}: {e.strerror}") from e
    if len(data) > _MAX_CMVN_BYTES:
        raise BadSenseVoiceFiles(f"cannot read {path.name}: larger than {_MAX_CMVN_BYTES} bytes")
    words = data.decode("utf-8", errors="replace").split()
    shift = _bracketed(words, "<AddShift>", path.name)
    scale = _bracketed(words, "<Rescale>", path.name)
    return cmvn_from(shift, path.name, "<AddShift>"), cmvn_from(scale, path.name, "<Rescale>")


def cmvn_from(words: list[str], file: str, key: str) -> Floats:
    """560 finite numbers as float32 [560]. Raises BadSenseVoiceFiles naming `file` and `key`."""
    if len(words) != FEATURE_SIZE:
        raise BadSenseVoiceFiles(f"cannot use {file}: {key} has {len(words)} numbers, expected {FEATURE_SIZE}")
    try:
        with np.errstate(over="ignore"):  # a number above the largest float becomes infinity, which is refused below
            values = np.array([float(word) for word in words], dtype=np.float64).astype(np.float32)
    except ValueError as e:
        raise BadSenseVoiceFiles(f"cannot use {file}: {key}: {e}") from e
    if not np.isfinite(values).all():
        raise BadSenseVoiceFiles(f"cannot use {file}: {key} has a number that is not finite")
    return values


def _bracketed(words: list[str], key: str, file: str) -> list[str]:
    try:
        start = words.index("[", words.index(key))
        return words[start + 1 : words.index("]", start)]
    except ValueError:
        raise BadSenseVoiceFiles(f"cannot read {file}: no numbers in brackets after {key}") from None
