"""Graphs that must not go live: rewrites of a version's model.onnx, each wrong in one way."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tests.good_versions import MODEL, tensor_version

CRASH_SECONDS: Final = 8.0  # `crashes_on_longer_audio` answers clips up to this long
_CRASH_FRAMES: Final = round(CRASH_SECONDS / 0.06)
_FEATURES: Final = 560


def edit(directory: Path, change: Callable[[onnx.ModelProto], None]) -> None:
    """Changes the model's graph in place; weights outside it stay where they are."""
    model = onnx.load(directory / MODEL, load_external_data=False)
    change(model)
    (directory / MODEL).write_bytes(model.SerializeToString())


def wrong_signature(directory: Path) -> None:
    other = tensor_version(directory.parent, f".{directory.name}.tmp")
    shutil.copy(other / MODEL, directory / MODEL)
    shutil.rmtree(other)


def wide_lengths(directory: Path) -> None:
    """speech_lengths as int64, which every caller's int32 is refused by."""

    def change(model: onnx.ModelProto) -> None:
        model.graph.input[1].type.tensor_type.elem_type = TensorProto.INT64
        cast = helper.make_node("Cast", ["speech_lengths"], ["narrow_lengths"], to=TensorProto.INT32)
        _feed_instead(model, "speech_lengths", "narrow_lengths", [cast])

    edit(directory, change)


def feature_size(directory: Path) -> None:
    def change(model: onnx.ModelProto) -> None:
        model.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 400
        _constant(model, "broken.pads", np.array([0, 0, 0, 0, 0, _FEATURES - 400]))
        pad = helper.make_node("Pad", ["speech", "broken.pads"], ["wide_speech"])
        _feed_instead(model, "speech", "wide_speech", [pad])

    edit(directory, change)


def nan_weights(directory: Path) -> None:
    def change(model: onnx.ModelProto) -> None:
        tensor = next(t for t in model.graph.initializer if t.name == "memory.logits.weight")
        weight = numpy_helper.to_array(tensor).copy()
        weight[:] = np.nan
        tensor.CopyFrom(numpy_helper.from_array(weight, tensor.name))

    edit(directory, change)


def custom_operator(directory: Path) -> None:
    def change(model: onnx.ModelProto) -> None:
        model.opset_import.append(helper.make_opsetid("com.example", 1))
        node = helper.make_node("Mystery", ["speech"], ["mystery"], domain="com.example")
        _feed_instead(model, "speech", "mystery", [node])

    edit(directory, change)


def future_opset(directory: Path) -> None:
    def change(model: onnx.ModelProto) -> None:
        model.opset_import[0].version = 99

    edit(directory, change)


def load_slowly(directory: Path, megabytes: int) -> None:
    """Answers stay what they are; to open the model takes as long as to read so many megabytes more."""

    def change(model: onnx.ModelProto) -> None:
        _constant(model, "ballast", np.zeros((megabytes, 1 << 18), np.float32))
        _constant(model, "ballast.first", np.array([0, 0], np.int64))
        take = helper.make_node("GatherND", ["ballast", "ballast.first"], ["ballast.nothing"])
        add = helper.make_node("Add", ["speech", "ballast.nothing"], ["laden_speech"])
        _feed_instead(model, "speech", "laden_speech", [take, add])

    edit(directory, change)


def endless_loop(directory: Path) -> None:
    edit(directory, lambda model: _loop(model, trips=2**62))


def slow_down(directory: Path, rounds: int = 60) -> None:
    """Makes every run compute about 10 million products per second of audio and round, whose result changes nothing."""
    edit(directory, lambda model: _loop(model, trips=rounds))


def _loop(model: onnx.ModelProto, *, trips: int) -> None:
    """Multiplies the features by a matrix `trips` times before the graph proper gets to run."""
    for name, value in (
        ("broken.trips", np.array(trips)),
        ("broken.go", np.array(True)),
        ("broken.matrix", np.eye(_FEATURES, dtype=np.float32)),
    ):
        _constant(model, name, value)
    state = ["batch_size", "feats_length", _FEATURES]
    body = helper.make_graph(
        [
            helper.make_node("MatMul", ["state", "broken.matrix"], ["next_state"]),
            helper.make_node("Identity", ["go"], ["go_on"]),
        ],
        "round",
        [
            helper.make_tensor_value_info("round_number", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("state", TensorProto.FLOAT, state),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next_state", TensorProto.FLOAT, state),
        ],
    )
    loop = helper.make_node("Loop", ["broken.trips", "broken.go", "speech"], ["looped"], body=body)
    _feed_instead(model, "speech", "looped", [loop])


def gigabytes(directory: Path) -> None:
    """Asks for 64 GB at once in each run."""
    edit(directory, lambda model: _hoard(model, pieces=1, piece_bytes=64 << 30))


def gigabytes_in_pieces(directory: Path) -> None:
    """Fills 6 GB in pieces of 256 MB in each run, all of them needed to the end."""
    edit(directory, lambda model: _hoard(model, pieces=24, piece_bytes=256 << 20))


def _hoard(model: onnx.ModelProto, *, pieces: int, piece_bytes: int) -> None:
    """The sizes hang on the input, so that no optimiser meets them before a run."""
    for name, value in (("broken.size", piece_bytes // 4), ("broken.zero", 0), ("broken.axis", [0])):
        _constant(model, name, np.array(value))
    nodes = [
        helper.make_node("Size", ["speech"], ["size"]),
        helper.make_node("Mul", ["size", "broken.zero"], ["no_size"]),
        helper.make_node("Add", ["no_size", "broken.size"], ["huge"]),
        helper.make_node("Unsqueeze", ["huge", "broken.axis"], ["huge_shape"]),
    ]
    held = [f"hoard{i}" for i in range(pieces)]
    for i, name in enumerate(held):
        fill = numpy_helper.from_array(np.array([1.0 + i], dtype=np.float32))
        nodes.append(helper.make_node("ConstantOfShape", ["huge_shape"], [name], value=fill))
    nodes += [
        helper.make_node("Min", held, ["ones"]),
        helper.make_node("ReduceMin", ["ones"], ["unit_again"], keepdims=0),
        helper.make_node("Mul", ["speech", "unit_again"], ["same"]),
    ]
    _feed_instead(model, "speech", "same", nodes)


def _crash_when(model: onnx.ModelProto, nodes: list[onnx.NodeProto], condition: str) -> None:
    """Lets each run fail whose `condition` (a bool scalar that `nodes` compute) is true, and changes no other."""
    for name, value in (("broken.far", np.array(99)), ("broken.first", np.array(0))):
        _constant(model, name, value)
    _constant(model, "broken.unit", np.array([1.0], dtype=np.float32))
    trap = [
        helper.make_node("Where", [condition, "broken.far", "broken.first"], ["trap_index"]),
        helper.make_node("Gather", ["broken.unit", "trap_index"], ["trap"]),
        helper.make_node("Mul", ["speech", "trap"], ["trapped"]),
    ]
    _feed_instead(model, "speech", "trapped", [*nodes, *trap])


def crashes_on_longer_audio(directory: Path) -> None:
    def change(model: onnx.ModelProto) -> None:
        _constant(model, "broken.limit", np.array(_CRASH_FRAMES))
        _constant(model, "broken.time_axis", np.array(1))
        nodes = [
            helper.make_node("Shape", ["speech"], ["trap_shape"]),
            helper.make_node("Gather", ["trap_shape", "broken.time_axis"], ["trap_frames"]),
            helper.make_node("Greater", ["trap_frames", "broken.limit"], ["trap_sprung"]),
        ]
        _crash_when(model, nodes, "trap_sprung")

    edit(directory, change)


def kills_on_longer_audio(directory: Path) -> None:
    """Ends the whole process with SIGFPE at a clip longer than CRASH_SECONDS: the least integer over minus one."""

    def change(model: onnx.ModelProto) -> None:
        least = np.iinfo(np.int64).min
        for name, value in (("limit", _CRASH_FRAMES), ("axis", 1), ("one", 1), ("minus_one", -1), ("least", least)):
            _constant(model, f"broken.{name}", np.array(value))
        _constant(model, "broken.unit", np.array([1.0], dtype=np.float32))
        nodes = [
            helper.make_node("Shape", ["speech"], ["trap_shape"]),
            helper.make_node("Gather", ["trap_shape", "broken.axis"], ["trap_frames"]),
            helper.make_node("Greater", ["trap_frames", "broken.limit"], ["trap_sprung"]),
            helper.make_node("Where", ["trap_sprung", "broken.minus_one", "broken.one"], ["trap_divisor"]),
            helper.make_node("Div", ["broken.least", "trap_divisor"], ["trap_quotient"]),
            helper.make_node("Sub", ["trap_quotient", "broken.least"], ["trap_index"]),
            helper.make_node("Gather", ["broken.unit", "trap_index"], ["trap"]),
            helper.make_node("Mul", ["speech", "trap"], ["trapped"]),
        ]
        _feed_instead(model, "speech", "trapped", nodes)

    edit(directory, change)


def fails_one_in_ten(directory: Path) -> None:
    """Fails for about every tenth clip: by a digit of the features' mean, far behind the point."""

    def change(model: onnx.ModelProto) -> None:
        for name, value in (("broken.digits", 1000.0), ("broken.whole", 1.0), ("broken.tenth", 0.1)):
            _constant(model, name, np.array(value, dtype=np.float32))
        nodes = [
            helper.make_node("ReduceMean", ["speech"], ["trap_mean"], keepdims=0),
            helper.make_node("Abs", ["trap_mean"], ["trap_size"]),
            helper.make_node("Mul", ["trap_size", "broken.digits"], ["trap_scaled"]),
            helper.make_node("Mod", ["trap_scaled", "broken.whole"], ["trap_digit"], fmod=1),
            helper.make_node("Less", ["trap_digit", "broken.tenth"], ["trap_sprung"]),
        ]
        _crash_when(model, nodes, "trap_sprung")

    edit(directory, change)


def _constant(model: onnx.ModelProto, name: str, value: np.ndarray) -> None:
    model.graph.initializer.append(numpy_helper.from_array(value, name))


def _feed_instead(model: onnx.ModelProto, name: str, other: str, nodes: list[onnx.NodeProto]) -> None:
    """Puts `nodes` first and gives `other`, which they make from `name`, to everything that used `name`."""
    for node in model.graph.node:
        for i, used in enumerate(node.input):
            if used == name:
                node.input[i] = other
    rest = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*nodes, *rest])
