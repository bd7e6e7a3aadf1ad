"""Drops the padding mask, for runs of one clip at its full length.

A mask is `position < length` over the longest clip of the batch, so with one clip it is true everywhere. The rest
follows by plain rules: tensors made from the comparison are all ones, all zeros or all false. `Where` on all-false
gives its second value, and a product with all ones gives its other factor. This is right only for a batch of one
without padding; the proof checks it on clips of many lengths. The output with the number of frames keeps its mask.
"""

from __future__ import annotations

from onnx import NodeProto

from .graph import GraphView

SHAPE_ONLY = frozenset(
    {"Cast", "Unsqueeze", "Squeeze", "Reshape", "Transpose", "Expand", "Tile", "Identity", "Slice", "Flatten"}
)


def drop_padding(view: GraphView) -> int:
    """Removes the masks; returns the number of Where and Mul nodes removed."""
    known = uniform_tensors(view)
    removed = 0
    for node in view.nodes("Where", "Mul"):
        kept = _survivor(node, known)
        if kept is not None:
            view.rewire(node.output[0], kept)
            removed += 1
    view.sweep()
    return removed


def uniform_tensors(view: GraphView) -> dict[str, float]:
    """Tensors that hold one number everywhere when the batch is one clip at full length, with that number."""
    known: dict[str, float] = {}
    for node in view.graph.node:
        value = _uniform(view, node, known)
        if value is not None:
            known[node.output[0]] = value
    return known


def _uniform(view: GraphView, node: NodeProto, known: dict[str, float]) -> float | None:
    if node.op_type == "Less":
        return 1.0 if _is_position_before_length(view, node.input[0], node.input[1]) else None
    if node.op_type == "Greater":
        return 1.0 if _is_position_before_length(view, node.input[1], node.input[0]) else None
    if node.op_type in SHAPE_ONLY:
        return known.get(node.input[0])
    if node.op_type == "Not" and node.input[0] in known:
        return 1.0 - known[node.input[0]]
    if node.op_type in ("Equal", "Mul", "Sub", "And"):
        values = [known.get(i, view.scalar(i)) for i in node.input]
        if any(i in known for i in node.input) and None not in values:
            a, b = (float(v) for v in values if v is not None)
            return {"Equal": float(a == b), "Mul": a * b, "Sub": a - b, "And": float(bool(a) and bool(b))}[node.op_type]
    return None


def _is_position_before_length(view: GraphView, positions: str, lengths: str) -> bool:
    """Whether positions = Range(0, ReduceMax(lengths), 1), with any casts and added axes in between."""
    span = view.maker(_source(view, positions), "Range")
    if span is None or view.scalar(span.input[0]) != 0 or view.scalar(span.input[2]) != 1:
        return False
    longest = view.maker(_source(view, span.input[1]), "ReduceMax")
    return longest is not None and _source(view, longest.input[0]) == _source(view, lengths)


def _source(view: GraphView, name: str) -> str:
    """The tensor before nodes that change only type or rank."""
    while (node := view.maker(name, "Cast", "Unsqueeze", "Squeeze", "Identity")) is not None:
        name = node.input[0]
    return name


def _survivor(node: NodeProto, known: dict[str, float]) -> str | None:
    """The input that a Where or Mul passes on unchanged, if the other one is known to make no difference."""
    if node.output[0] in known:
        return None
    if node.op_type == "Where":
        condition = known.get(node.input[0])
        return None if condition is None else str(node.input[1] if condition else node.input[2])
    for mine, other in ((0, 1), (1, 0)):
        if known.get(node.input[mine]) == 1.0:
            return str(node.input[other])
    return None
