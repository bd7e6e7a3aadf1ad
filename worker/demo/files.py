"""A version on disk, with the files of the FunASR export.

A version is written beside its place and renamed into it, so it is never seen half written. It never replaces anything:
a name that is taken raises FileExistsError.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np
import onnx
from onnx import numpy_helper

from ..sensevoice import frontend
from . import clips, graph, vocabulary
from .fit import Floats
from .network import learn

MODEL: Final = "model.onnx"
_BROKEN_WEIGHT: Final = "memory.logits.weight"  # after the last ReLU, which may turn NaN into zero
_CONFIG: Final = """\
# a recogniser of telephone keys with the signature of SenseVoice-small
model: SenseVoiceSmall
encoder: SenseVoiceEncoderSmall
tokenizer: SentencepiecesTokenizer
frontend: WavFrontend
frontend_conf:
    fs: 16000
    window: hamming
    n_mels: 80
    frame_length: 25
    frame_shift: 10
    lfr_m: 7
    lfr_n: 6
    dither: 0.0
"""
_CONFIGURATION: Final = {
    "framework": "onnx",
    "task": "auto-speech-recognition",
    "model": {"type": "funasr"},
    "pipeline": {"type": "funasr-pipeline"},
}


def build_version(directory: Path, *, words: bool) -> None:
    """Writes a complete version at `directory`, which must not exist: it writes words ("one two") or digits ("12").

    Raises FileExistsError when the name is taken and OSError when it cannot be written.
    """
    with _beside(directory) as aside:
        _write(aside, graph.build(learn()), words=words)


def build_broken_version(directory: Path, *, words: bool) -> None:
    """Like `build_version`, with one weight of the model not a number: it loads and runs, but recognises nothing."""
    model = graph.build(learn())
    for tensor in model.graph.initializer:
        if tensor.name == _BROKEN_WEIGHT:
            weight = numpy_helper.to_array(tensor).copy()
            weight[0, 0] = np.nan
            tensor.CopyFrom(numpy_helper.from_array(weight, tensor.name))
    with _beside(directory) as aside:
        _write(aside, model, words=words)


@contextmanager
def _beside(directory: Path) -> Iterator[Path]:
    """A directory to fill. At the end it is renamed to `directory`, or removed after an error."""
    if directory.exists() or directory.is_symlink():
        raise FileExistsError(f"cannot build {directory}: it exists; nothing was changed")
    directory.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=".", suffix=".tmp", dir=directory.parent))
    try:
        aside.chmod(0o755)
        yield aside
        aside.rename(directory)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise


def _write(directory: Path, model: onnx.ModelProto, *, words: bool) -> None:
    network = learn()
    (directory / MODEL).write_bytes(model.SerializeToString(deterministic=True))
    tokens = json.dumps(vocabulary.pieces(words=words), ensure_ascii=False, indent=0)
    (directory / "tokens.json").write_text(tokens + "\n", encoding="utf-8")
    (directory / "am.mvn").write_text(cmvn_text(network.shift, network.scale), encoding="ascii")
    (directory / "config.yaml").write_text(_CONFIG, encoding="utf-8")
    (directory / "configuration.json").write_text(json.dumps(_CONFIGURATION, indent=2) + "\n", encoding="utf-8")
    clips.write_golden(directory / "golden", words=words)


def cmvn_text(shift: Floats, scale: Floats) -> str:
    """Kaldi's nnet text as FunASR writes it, from the values of one frame [80], repeated for each stacked frame."""
    rows = [" ".join(f"{value:.7g}" for value in np.tile(v, frontend.STACK_FRAMES)) for v in (shift, scale)]
    size = f"{frontend.FEATURE_SIZE} {frontend.FEATURE_SIZE}"
    return (
        f"<Nnet> \n<Splice> {size}\n[ 0 ]\n"
        f"<AddShift> {size} \n<LearnRateCoef> 0 [ {rows[0]} ]\n"
        f"<Rescale> {size} \n<LearnRateCoef> 0 [ {rows[1]} ]\n</Nnet> \n"
    )
