"""A part of a model on which rewrites are tried in place of the whole: some of its layers, or its last one.

Blocks of a network are alike: a sixteenth of them shows what a rewrite changes and saves. A part keeps the inputs it
needs and has one output. Pure: graphs in, graphs out; weights stay in their file. It proves nothing about the whole.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import onnx
from msgspec import Struct
from onnx import NodeProto, TensorProto, helper

from . import weights
from .graph import GraphView, in_order
from .prove import Array, Feeds

SHARE: Final = 16  # the divisor of all weights
LEAST_BYTES: Final = 8 << 20
SMALL_BYTES: Final = 64 << 20  # a model with at most this much is tried as a whole
ENTRY: Final = "entry"
MOST_NODES: Final = 64  # of the last layer


class ModelPart(Struct, frozen=True):
    """A part of a model. `width`: features of its input ENTRY when it begins inside the model, else 0."""

    model: onnx.ModelProto
    width: int = 0

    def feeds(self, clip: Feeds) -> Feeds:
        """The clip; for a part inside the model, noise of the clip's length."""
        if not self.width:
            return clip
        frames = next(iter(clip.values())).shape[1]
        noise: Array = np.random.default_rng(frames).standard_normal((1, frames, self.width)).astype(np.float32)
        return {ENTRY: noise}


def first_layers(model: onnx.ModelProto, bytes_wanted: int) -> ModelPart | None:
    """From the inputs to the first added bias after this many bytes of weights; None where there is none."""
    known = {tensor.name: tensor for tensor in model.graph.initializer}
    seen: set[str] = set()
    total = 0
    for node in in_order(list(model.graph.node)):
        for name in node.input:
            if name in known and name not in seen:
                seen.add(name)
                total += weights.size(known[name])
        if total >= bytes_wanted and node.op_type == "Add" and any(_is_bias(known.get(name)) for name in node.input):
            return ModelPart(_cut(model, helper.make_tensor_value_info(node.output[0], TensorProto.FLOAT, None)))
    return None


def last_layer(model: onnx.ModelProto) -> ModelPart | None:
    """From the one tensor that the last product reads to the first output; None where the graph ends otherwise."""
    view = GraphView(model)
    places = {node.output[0]: place for place, node in enumerate(in_order(list(model.graph.node))) if node.output}
    open_ends, width = {model.graph.output[0].name}, 0
    for _ in range(MOST_NODES):
        if len(open_ends) == 1 and width:
            (entry,) = open_ends
            return ModelPart(_with_entry(model, entry, width), width)
        name = max(open_ends, key=lambda end: places.get(end, -1))
        node = view.makers.get(name)
        if node is None:
            return None
        width = width or _rows(view, node)
        open_ends -= set(node.output)
        open_ends |= {i for i in node.input if i and i not in view.initializers and not _is_constant(view, i)}
    return None


def _is_bias(tensor: TensorProto | None) -> bool:
    return tensor is not None and tensor.data_type == TensorProto.FLOAT and len(tensor.dims) == 1 and tensor.dims[0] > 1


def _is_constant(view: GraphView, name: str) -> bool:
    return view.maker(name, "Constant") is not None


def _rows(view: GraphView, node: NodeProto) -> int:
    """K of a product with a constant matrix [K,N]; 0 for any other node."""
    if node.op_type not in ("MatMul", "MatMulInteger"):
        return 0
    tensor = view.initializers.get(node.input[1])
    return int(tensor.dims[0]) if tensor is not None and len(tensor.dims) == 2 else 0


def _cut(model: onnx.ModelProto, output: onnx.ValueInfoProto) -> onnx.ModelProto:
    made = onnx.ModelProto()
    made.CopyFrom(model)
    del made.graph.output[:]
    made.graph.output.append(output)
    GraphView(made).sweep()
    return made


def _with_entry(model: onnx.ModelProto, entry: str, width: int) -> onnx.ModelProto:
    made = onnx.ModelProto()
    made.CopyFrom(model)
    del made.graph.output[1:]
    del made.graph.input[:]
    for node in made.graph.node:
        for place, name in enumerate(node.input):
            if name == entry:
                node.input[place] = ENTRY
    made.graph.input.append(helper.make_tensor_value_info(ENTRY, TensorProto.FLOAT, [1, None, width]))
    GraphView(made).sweep()
    return made
