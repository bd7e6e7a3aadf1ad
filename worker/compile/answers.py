"""Computes the best id of each frame inside the graph, so that logits never leave it.

The output layer is cut into tiles of columns, each reduced to its best value and id at once. Logits of a 30 s clip take
50 MB as a whole and 6 MB a tile. Ties go to the lowest id, as in numpy. Where the end of the graph is not the
dynamically quantised or plain linear layer that exporters write, one ArgMax after the logits does the same.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from msgspec import Struct
from onnx import NodeProto, TensorProto, helper

from .graph import GraphView, attribute, other_input
from .weights import Array

TILE_COLUMNS = 3136
IDS = "ids"


class Linear(Struct, frozen=True):
    """A linear layer: the node that multiplies by `weight` f32 or int8 [K,N], and what follows it."""

    product: NodeProto
    weight: str
    cast: NodeProto | None
    scaled: NodeProto | None
    column_scale: str
    step_scale: str
    bias: str


def answer_ids(view: GraphView) -> int:
    """Replaces the first output, logits f32 [1,T,V], by `ids` i64 [1,T]. Returns the number of tiles. Other outputs
    stay.
    """
    logits = view.graph.output[0].name
    layer = find_linear(view, logits)
    if layer is None:
        best = view.add_node("ArgMax", [logits], axis=-1, keepdims=0).output[0]
        tiles = 1
    else:
        values, ids = _tiles(view, layer)
        best, tiles = _best_of(view, values, ids), len(values)
    output = view.add_node("Identity", [best])
    output.output[0] = IDS
    view.makers[IDS] = output
    view.graph.output[0].CopyFrom(helper.make_tensor_value_info(IDS, TensorProto.INT64, ["batch_size", "frames"]))
    view.outputs = {o.name for o in view.graph.output}
    view.sweep()
    return tiles


def find_linear(view: GraphView, out: str) -> Linear | None:
    """The linear layer whose result is the tensor `out`; None when it differs from what exporters write."""
    add = view.maker(out, "Add")
    if add is None:
        return None
    for bias in add.input:
        rest = other_input(add, bias)
        dims = list(view.initializers[bias].dims) if bias in view.initializers else []
        if rest is None or len(dims) != 1:
            continue
        plain = view.maker(rest, "MatMul")
        if plain is not None and _columns(view, plain.input[1]) == dims[0]:
            return Linear(plain, str(plain.input[1]), None, None, "", "", str(bias))
        layer = _quantised(view, rest, str(bias))
        if layer is not None and _columns(view, layer.weight) == dims[0]:
            return layer
    return None


def _quantised(view: GraphView, name: str, bias: str) -> Linear | None:
    """Mul(Cast(MatMulInteger(a, w, za, zw)), Mul(step, columns)), as quantize_dynamic writes it."""
    scaled = view.maker(name, "Mul")
    for converted in scaled.input if scaled is not None else ():
        cast, scales = view.maker(converted, "Cast"), other_input(scaled, converted) if scaled is not None else None
        product = view.maker(cast.input[0], "MatMulInteger") if cast is not None else None
        both = view.maker(scales, "Mul") if scales is not None else None
        if product is None or both is None:
            continue
        for columns in both.input:
            step = other_input(both, columns)
            if step is not None and columns in view.initializers:
                return Linear(product, str(product.input[1]), cast, scaled, str(columns), step, bias)
    return None


def _columns(view: GraphView, weight: str) -> int:
    tensor = view.initializers.get(weight)
    return int(tensor.dims[1]) if tensor is not None and len(tensor.dims) == 2 else -1


def _tiles(view: GraphView, layer: Linear) -> tuple[list[str], list[str]]:
    """Best value f32 [1,T,1] and its id i64 [1,T,1] of each tile."""
    columns = _columns(view, layer.weight)
    width = min(columns, TILE_COLUMNS)
    one = view.add_constant(np.array([1], np.int64), "one")
    values: list[str] = []
    ids: list[str] = []
    for start in range(0, columns, width):
        cut = _cutter(view, columns, slice(start, min(start + width, columns)))
        top = view.add_node("TopK", [_tile(view, layer, cut), one], outputs=2, axis=-1, largest=1, sorted=1)
        offset = view.add_constant(np.array(start, np.int64), "offset")
        values.append(top.output[0])
        ids.append(view.add_node("Add", [top.output[1], offset]).output[0])
    return values, ids


def _cutter(view: GraphView, columns: int, part: slice) -> Callable[[str], str]:
    """Cuts constants that have one entry for each column; leaves single numbers and computed values as they are."""

    def cut(name: str) -> str:
        tensor = view.initializers.get(name)
        if tensor is None or not tensor.dims or tensor.dims[-1] != columns:
            return name
        value: Array = view.value(tensor)
        return view.add_constant(np.ascontiguousarray(value[..., part]), "tile")

    return cut


def _tile(view: GraphView, layer: Linear, cut: Callable[[str], str]) -> str:
    inputs = [layer.product.input[0], *(cut(name) for name in layer.product.input[1:])]
    x = view.add_node(layer.product.op_type, inputs).output[0]
    if layer.cast is not None:
        x = view.add_node("Cast", [x], to=attribute(layer.cast, "to")).output[0]
        scales = view.add_node("Mul", [layer.step_scale, cut(layer.column_scale)]).output[0]
        x = view.add_node("Mul", [x, scales]).output[0]
    return str(view.add_node("Add", [cut(layer.bias), x]).output[0])


def _best_of(view: GraphView, values: list[str], ids: list[str]) -> str:
    """The id of the best tile, i64 [1,T]; the first one of equal tiles."""
    if len(values) == 1:
        flat = ids[0]
    else:
        best = view.add_node("ArgMax", [view.add_node("Concat", values, axis=-1).output[0]], axis=-1, keepdims=1)
        together = view.add_node("Concat", ids, axis=-1)
        flat = view.add_node("GatherElements", [together.output[0], best.output[0]], axis=-1).output[0]
    shape = view.add_constant(np.array([1, -1], np.int64), "shape")
    return str(view.add_node("Reshape", [flat, shape]).output[0])
