"""Versions that must be accepted, in every form one may come in: FunASR's files or sherpa-onnx's, weights beside the
graph, eight-bit weights, a tensor model. The recogniser is learnt once a test run and copied from then on.
"""

from __future__ import annotations

import atexit
import fcntl
import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tests.support import PATIENCE_SECONDS

from modelward.worker.demo import vocabulary

SHARED: Final = "MODELWARD_TESTS_SHARED"
"""Names, in the environment, the directory of what all processes of one run of the tests share."""
MODEL: Final = "model.onnx"
DATA: Final = "model.onnx.data"
MASKS: Final = 200
_SHERPA_NAMES: Final = {
    "speech": "x",
    "speech_lengths": "x_length",
    "language": "language",
    "textnorm": "text_norm",
    "ctc_logits": "logits",
}
_SHERPA_IDS: Final = {
    "lang_auto": 0,
    "lang_zh": 3,
    "lang_en": 4,
    "lang_yue": 7,
    "lang_ja": 11,
    "lang_ko": 12,
    "lang_nospeech": 13,
    "with_itn": 14,
    "without_itn": 15,
}


@functools.cache
def demo() -> Path:
    """What `python -m modelward.worker.demo` makes: versions/ and clips/. For copying from, not for changing.

    Made once in a run of the tests, whichever of its processes asks first.
    """
    return made_once("demo", _make_demo)


def made_once(name: str, make: Callable[[Path], object]) -> Path:
    """The directory `name` that `make` fills: once in a run of the tests, or once in a process where none is shared."""
    shared = os.environ.get(SHARED, "")
    directory = Path(shared or tempfile.mkdtemp(prefix="modelward-tests-"))
    if not shared:
        atexit.register(shutil.rmtree, directory, ignore_errors=True)
    made, aside = directory / name, directory / f".{name}"
    with open(directory / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.is_dir():
            make(aside)
            aside.rename(made)
    return made


def _make_demo(directory: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "modelward.worker.demo", directory],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OPENBLAS_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        timeout=PATIENCE_SECONDS,
        check=True,
    )


def clips() -> dict[str, Path]:
    """The demo's sample clips by name; beside each NAME.wav lie NAME.digits.txt and NAME.words.txt."""
    return {path.stem: path for path in sorted((demo() / "clips").glob("*.wav"))}


def good_version(root: Path, name: str = "dtmf-v1.0", *, words: bool = False, golden: bool = True) -> Path:
    """The directory root/name: the demo recogniser as it is, writing digits or words, with or without golden clips."""
    directory = root / name
    shutil.copytree(demo() / "versions" / ("dtmf-v1.1" if words else "dtmf-v1.0"), directory)
    if not golden:
        shutil.rmtree(directory / "golden")
    return directory


def external_version(root: Path, name: str = "dtmf-v1.0", *, words: bool = False, golden: bool = True) -> Path:
    """The same with the weights in a second file, model.onnx.data."""
    directory = good_version(root, name, words=words, golden=golden)
    move_weights_out(directory)
    return directory


def quantized_version(root: Path, name: str = "dtmf-v1.0", *, words: bool = False, golden: bool = True) -> Path:
    """The same as model_quant.onnx, its MatMuls with unsigned eight-bit weights, as the published exports are made."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    directory = good_version(root, name, words=words, golden=golden)
    quantize_dynamic(
        directory / MODEL,
        directory / "model_quant.onnx",
        op_types_to_quantize=["MatMul"],
        per_channel=True,
        weight_type=QuantType.QUInt8,
    )
    (directory / MODEL).unlink()
    return directory


def masked_version(root: Path, name: str = "dtmf-v1.0", *, words: bool = False, golden: bool = True) -> Path:
    """The same with eight-bit weights, and its frames multiplied by their padding mask again and again.

    One clip has no padding: without these products it answers bit for bit the same in a fraction of the time, on any
    processor and however busy that is.
    """
    directory = quantized_version(root, name, words=words, golden=golden)
    model = onnx.load(directory / "model_quant.onnx")
    for node in model.graph.node:
        for place, value in enumerate(node.input):
            if value == "speech":
                node.input[place] = f"masked_{MASKS}"
    constants = {"mask_0": np.array(0, np.int32), "mask_1": np.array(1, np.int32)}
    axes = {f"mask_axis_{axis}": np.array([axis], np.int64) for axis in (0, 1, 2)}
    model.graph.initializer.extend(numpy_helper.from_array(v, n) for n, v in {**constants, **axes}.items())
    nodes = [
        helper.make_node("ReduceMax", ["speech_lengths"], ["mask_longest"], keepdims=0),
        helper.make_node("Range", ["mask_0", "mask_longest", "mask_1"], ["mask_positions"]),
        helper.make_node("Unsqueeze", ["mask_positions", "mask_axis_0"], ["mask_row"]),
        helper.make_node("Unsqueeze", ["speech_lengths", "mask_axis_1"], ["mask_column"]),
        helper.make_node("Less", ["mask_row", "mask_column"], ["mask_inside"]),
        helper.make_node("Cast", ["mask_inside"], ["mask_flat"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask_flat", "mask_axis_2"], ["mask"]),
        helper.make_node("Identity", ["speech"], ["masked_0"]),
        *(helper.make_node("Mul", [f"masked_{i}", "mask"], [f"masked_{i + 1}"]) for i in range(MASKS)),
    ]
    for node in reversed(nodes):
        model.graph.node.insert(0, node)
    onnx.checker.check_model(model)
    onnx.save(model, directory / "model_quant.onnx")
    return directory


def sherpa_version(
    root: Path, name: str = "dtmf-v1.0", *, words: bool = False, golden: bool = True, external: bool = False
) -> Path:
    """The same in sherpa-onnx's form: other input names, one output, tokens.txt, everything else in the metadata."""
    directory = good_version(root, name, words=words, golden=golden)
    model = onnx.load(directory / MODEL)
    rename_values(model, _SHERPA_NAMES)
    drop_output(model, "encoder_out_lens")
    helper.set_model_props(model, _sherpa_metadata((directory / "am.mvn").read_text(encoding="ascii")))
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, directory / MODEL)
    pieces = json.loads((directory / "tokens.json").read_text(encoding="utf-8"))
    lines = "".join(f"{piece} {i}\n" for i, piece in enumerate(pieces))
    (directory / "tokens.txt").write_text(lines, encoding="utf-8")
    for unused in ("tokens.json", "am.mvn", "config.yaml", "configuration.json"):
        (directory / unused).unlink()
    if external:
        move_weights_out(directory)
    return directory


def tensor_version(root: Path, name: str = "adder-v1", *, number: float = 1.0) -> Path:
    """A version of kind tensor: x f32 [N,3] → y f32 [N,2] = x @ W + b, the row's sum and then `number`."""
    directory = root / name
    directory.mkdir(parents=True)
    weight = np.array([[1, 0], [1, 0], [1, 0]], dtype=np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "W"], ["xW"]), helper.make_node("Add", ["xW", "b"], ["y"])],
        "adder",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 2])],
        [numpy_helper.from_array(weight, "W"), numpy_helper.from_array(np.array([0, number], dtype=np.float32), "b")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, directory / MODEL)
    return directory


class CopyUnderway:
    """A version that is being copied, as slowly as the test wants: nothing happens but by `step` and `finish`.

    The small files come first and the model last, `chunk_bytes` a step; the model is never whole before `finish`.
    """

    def __init__(self, source: Path, target: Path, *, chunk_bytes: int = 16_384) -> None:
        self.target = target
        self._left = self._copy(source, chunk_bytes)
        target.mkdir(parents=True)

    def step(self) -> bool:
        """Writes the next chunk; False when nothing is left to write."""
        return next(self._left, False)

    def finish(self) -> Path:
        """Writes all that is left."""
        while self.step():
            pass
        return self.target

    def _copy(self, source: Path, chunk_bytes: int) -> Iterator[bool]:
        files = sorted((path for path in source.rglob("*") if path.is_file()), key=lambda p: (p.suffix == ".onnx", p))
        for path in files:
            copy = self.target / path.relative_to(source)
            copy.parent.mkdir(exist_ok=True)
            data = path.read_bytes()
            with open(copy, "wb") as file:
                for start in range(0, len(data), chunk_bytes):
                    file.write(data[start : start + chunk_bytes])
                    file.flush()
                    yield True


def move_weights_out(directory: Path) -> None:
    """Rewrites model.onnx with its weights in model.onnx.data beside it."""
    model = onnx.load(directory / MODEL)
    onnx.save(model, directory / MODEL, save_as_external_data=True, location=DATA, size_threshold=256)
    (directory / DATA).chmod(0o644)  # onnx leaves it to its owner alone


def rename_values(model: onnx.ModelProto, names: dict[str, str]) -> None:
    """Renames inputs, outputs and whatever flows between nodes."""
    for value in (*model.graph.input, *model.graph.output):
        value.name = names.get(value.name, value.name)
    for node in model.graph.node:
        for side in (node.input, node.output):
            renamed: Sequence[str] = [names.get(name, name) for name in side]
            del side[:]
            side.extend(renamed)


def drop_output(model: onnx.ModelProto, name: str) -> None:
    """Removes an output and the node that makes it."""
    model.graph.output.remove(next(value for value in model.graph.output if value.name == name))
    model.graph.node.remove(next(node for node in model.graph.node if name in node.output))
    used = {value for node in model.graph.node for value in node.input}
    for tensor in [tensor for tensor in model.graph.initializer if tensor.name not in used]:
        model.graph.initializer.remove(tensor)


def _sherpa_metadata(cmvn: str) -> dict[str, str]:
    rows = [line.split()[3:-1] for line in cmvn.splitlines() if line.startswith("<LearnRateCoef>")]
    numbers = {name: ",".join(row) for name, row in zip(("neg_mean", "inv_stddev"), rows, strict=True)}
    fixed = {"lfr_window_size": "7", "lfr_window_shift": "6", "normalize_samples": "0", "model_type": "sense_voice_ctc"}
    return {**fixed, **numbers, **{k: str(v) for k, v in _SHERPA_IDS.items()}, "vocab_size": str(vocabulary.SIZE)}
