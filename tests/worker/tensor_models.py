"""Small ONNX graphs of kind tensor for the tests of what serves them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, helper

TYPES = {
    "BOOL": TensorProto.BOOL,
    **{f"{s}INT{b}": getattr(TensorProto, f"{s}INT{b}") for s in ("", "U") for b in (8, 16, 32, 64)},
    "FP16": TensorProto.FLOAT16,
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
    "BYTES": TensorProto.STRING,
}


def save(directory: Path, nodes: Sequence[Any], inputs: Sequence[Any], outputs: Sequence[Any]) -> Path:
    """A version of kind tensor with this graph."""
    directory.mkdir(parents=True)
    graph = helper.make_graph(nodes, "graph", inputs, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 16)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, directory / "model.onnx")
    return directory


def typed_version(directory: Path) -> Path:
    """For each type an input of its name and an output NAME_out that is the same."""
    return save(
        directory,
        [helper.make_node("Identity", [name], [f"{name}_out"]) for name in TYPES],
        [helper.make_tensor_value_info(name, kind, ["N"]) for name, kind in TYPES.items()],
        [helper.make_tensor_value_info(f"{name}_out", kind, ["N"]) for name, kind in TYPES.items()],
    )
