"""Removes bookkeeping from the graph: shapes computed at run time become constants, and nodes without effect go.

A target shape made of pieces (batch, time, heads, size) is a constant once the batch is one: 1, -1, heads, size. This
is right for a batch of one only; the proof runs several lengths. Also removed: products with the constant one, casts
that ONNX Runtime left between equal types, and Identity.
"""

from __future__ import annotations

import numpy as np

from .graph import GraphView, attribute


def fix_shapes(view: GraphView) -> int:
    """Gives every Reshape with target [batch, at most one unknown, constants] a constant target; returns how many."""
    made: dict[tuple[int, ...], str] = {}
    changed = 0
    for node in view.nodes("Reshape"):
        if view.constant(node.input[1]) is not None or attribute(node, "allowzero", 0):
            continue
        target = target_of_one(view, node.input[1])
        if target is None:
            continue
        if target not in made:
            made[target] = view.add_constant(np.array(target, np.int64), "shape")
        node.input[1] = made[target]
        changed += 1
    view.sweep()
    return changed


def target_of_one(view: GraphView, shape: str) -> tuple[int, ...] | None:
    """A shape vector for a batch of one as numbers with at most one -1; None when more than that is unknown."""
    node = view.maker(shape, "Concat")
    if node is None:
        return None
    target: list[int] = []
    for piece in node.input:
        value = view.constant(piece)
        if value is not None:
            target += [int(v) for v in value.reshape(-1)]
        elif (axis := dimension(view, piece)) is not None:
            target.append(1 if axis == 0 else -1)
        else:
            return None
    return tuple(target) if target.count(-1) <= 1 and 0 not in target else None


def dimension(view: GraphView, name: str) -> int | None:
    """k when this tensor is the k-th dimension of some tensor, as a vector of one element."""
    node = view.maker(name, "Unsqueeze")
    gather = view.maker(node.input[0], "Gather") if node is not None else None
    if gather is None or view.maker(gather.input[0], "Shape") is None:
        return None
    axis = view.scalar(gather.input[1])
    return None if axis is None or axis < 0 else int(axis)
