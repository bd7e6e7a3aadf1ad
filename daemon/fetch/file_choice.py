"""Which files of a repository or a directory belong to a version, and which one is its model.

Pure. Of several ONNX files one is taken, the quantised one first, as the workers would choose it. What is left out is
what no worker opens: PyTorch's weights, examples, pictures. Where the source has a list of checksums, all of its files
are taken, because the list is checked as a whole. Invariant: the choice depends on the names alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from msgspec import Struct

from ...worker.shared.checksums import SUMS
from ...worker.shared.quantities import count
from ..errors import Refused
from ..names import is_unfinished

PREFERRED: Final = ("model_quant.onnx", "model.int8.onnx", "model.onnx")
"""As worker.sensevoice.files has it."""
SIGNATURE: Final = f"{SUMS}.minisig"
_QUANTISED: Final = ("quant", "int8", "q8")
_OTHER_MODELS: Final = re.compile(r".*(vad|punc|ct-transformer|embedding|campplus|speaker).*", re.IGNORECASE)
_NO_DIRECTORIES: Final = frozenset((
    "asset", "assets", "demo", "doc", "docs", "example", "examples", "fig", "figs", "figures", "image", "images", "img",
    "runtime", "test_wavs", "tests",
))  # fmt: skip
_NO_ENDINGS: Final = (
    ".pt", ".pth", ".pb", ".bin", ".safetensors", ".ckpt", ".gguf", ".h5", ".msgpack", ".tflite", ".mnn", ".rknn",
    ".ort", ".torchscript", ".py", ".ipynb", ".sh", ".png", ".jpg", ".jpeg", ".gif", ".svg", ".webp", ".mp4", ".wav",
    ".mp3", ".zip", ".tar", ".gz", ".bz2",
)  # fmt: skip
_TORCH: Final = (".pt", ".pth", ".safetensors")
_EXTERNAL: Final = re.compile(r".*(?:[._]data|\.bin|\.weights?)", re.IGNORECASE)


class Choice(Struct, frozen=True):
    """The paths to take, sorted, and the model among them; "" where there is a list of checksums."""

    paths: tuple[str, ...]
    model: str = ""


def choose(paths: Sequence[str], *, sums: Iterable[str] = (), model: str = "", everything: bool = False) -> Choice:
    """The files of a version. `sums` are the paths of its list of checksums, `model` is an ONNX file that is named.

    Raises Refused when there is no model among them.
    """
    listed = set(sums)
    if listed:
        missing = sorted(listed - set(paths))
        if missing:
            raise Refused(f"cannot take it: {SUMS} lists {missing[0]}, which is not there")
        signed = {path for path in paths if path in (SUMS, SIGNATURE)}
        return Choice(tuple(sorted(listed | signed)))
    if everything:
        return Choice(tuple(sorted(path for path in paths if not is_unfinished(path) and not _is_of_tools(path))))
    chosen = _model(paths, model)
    kept = [path for path in paths if path == chosen or (not path.endswith(".onnx") and _belongs(path, chosen))]
    return Choice(tuple(sorted(kept)), chosen)


def _model(paths: Sequence[str], named: str) -> str:
    graphs = sorted(path for path in paths if path.endswith(".onnx") and "/" not in path)
    if named:
        if named not in graphs:
            there = ", ".join(graphs[:10]) or "no .onnx file"
            raise Refused(f"cannot take {named[:200]}: it is not there; there is {there}")
        return named
    for name in PREFERRED:
        if name in graphs:
            return name
    models = [path for path in graphs if not _OTHER_MODELS.fullmatch(path)] or graphs
    quantised = [path for path in models if any(mark in path.lower() for mark in _QUANTISED)]
    for found in (quantised, models):
        if len(found) == 1:
            return found[0]
    if models:
        raise Refused(f"cannot choose among {', '.join(models[:10])}; --model FILE takes one")
    raise Refused(_no_graph(paths))


def _no_graph(paths: Sequence[str]) -> str:
    deeper = sorted(path for path in paths if path.endswith(".onnx"))
    if deeper:
        return f"cannot take it: its .onnx file lies in a directory, {deeper[0]}; a version has it at the top"
    torch = sorted(path for path in paths if path.endswith(_TORCH))
    if torch:
        return (
            f"cannot take it: it holds {torch[0]}, PyTorch's form, and no .onnx file; ms:iic/SenseVoiceSmall-onnx and "
            "hf:csukuangfj/sherpa-onnx-sense-voice-zh-en-ja-ko-yue-2024-07-17 have the form for ONNX Runtime"
        )
    return f"cannot take it: there is no .onnx file among {count(len(paths), 'file')}"


def _belongs(path: str, model: str) -> bool:
    """Whether a file that is no graph is part of the version: not of a tool, not of another form of the model."""
    names = path.split("/")
    if is_unfinished(path) or _is_of_tools(path):
        return False
    if names[0] == "golden":
        return True
    if any(name.lower() in _NO_DIRECTORIES for name in names[:-1]):
        return False
    if len(names) == 1 and _EXTERNAL.fullmatch(path):
        return _is_data_of(path, model)
    return not path.lower().endswith(_NO_ENDINGS)


def _is_of_tools(path: str) -> bool:
    return any(name.startswith(".") for name in path.split("/"))


def _is_data_of(path: str, model: str) -> bool:
    """Whether the weights of a graph that lie beside it are those of this one: model.onnx.data, model.onnx_data."""
    return path.startswith((model + ".", model + "_", model.removesuffix(".onnx") + ".data"))
