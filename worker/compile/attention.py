"""Attention with fewer copies.

It recognises what exporters write for heads that are split from three matrices: reshape and transpose of each to
[B,H,T,D], scale, product, softmax, product, transpose and reshape back. Two forms replace it, both for a batch of one.
`stride_attention` reads the heads in place, by FusedMatMul's batch transposition. The sums have the same order, so the
answers keep every bit (the proof checks this). `fuse_attention` uses com.microsoft.MultiHeadAttention, which sums in
another order, so answers change by rounding.
"""

from __future__ import annotations

import numpy as np
from msgspec import Struct
from onnx import NodeProto

from .graph import (
    MICROSOFT,
    GraphView,
    attribute,
    need_domain,
    other_input,
)


class Attention(Struct, frozen=True):
    """q, k, v: tensors [B,T,heads*size]; `out` is the resulting tensor of the same shape."""

    q: str
    k: str
    v: str
    heads: int
    size: int
    scale: float
    out: str


def find_attention(view: GraphView, softmax: NodeProto) -> Attention | None:
    """The attention around this Softmax; None when anything differs from the pattern."""
    if attribute(softmax, "axis", -1) not in (-1, 3):
        return None
    scores, scale = _unscaled(view, softmax.input[0])
    product = view.maker(scores, "MatMul")
    mixing = view.only_reader(softmax.output[0], "MatMul")
    if product is None or mixing is None or mixing.input[0] != softmax.output[0] or _read_twice(view, product, softmax):
        return None
    q_name, q_scale = _unscaled(view, product.input[0])
    k_name, k_scale = _unscaled(view, product.input[1])
    q = _heads(view, q_name, [0, 2, 1, 3])
    k = _heads(view, k_name, [0, 2, 3, 1])
    v = _heads(view, mixing.input[1], [0, 2, 1, 3])
    out = _joined(view, mixing.output[0])
    if q is None or k is None or v is None or out is None or not q[1:] == k[1:] == v[1:]:
        return None
    heads, size = q[1:]
    if out[1] != heads * size:
        return None
    return Attention(q[0], k[0], v[0], heads, size, scale * q_scale * k_scale, out[0])


def stride_attention(view: GraphView) -> int:
    """Replaces each attention by products that read the heads in place; returns how many. No bit of the answers may
    change.
    """
    count = 0
    for softmax in view.nodes("Softmax"):
        a = find_attention(view, softmax)
        if a is None:
            continue
        need_domain(view.model)
        rows = view.add_constant(np.array([-1, a.heads, a.size], np.int64), "shape")
        q, k, v = (view.add_node("Reshape", [x, rows]).output[0] for x in (a.q, a.k, a.v))
        scores = view.add_node(
            "FusedMatMul", [q, k], domain=MICROSOFT, alpha=a.scale, transB=1, transBatchA=1, transBatchB=1
        )
        weights = view.add_node("Softmax", [scores.output[0]], axis=-1)
        mixed = view.add_node("FusedMatMul", [weights.output[0], v], domain=MICROSOFT, transBatchB=1)
        back = view.add_node("Transpose", [mixed.output[0]], perm=[1, 0, 2])
        flat = view.add_constant(np.array([1, -1, a.heads * a.size], np.int64), "shape")
        view.rewire(a.out, view.add_node("Reshape", [back.output[0], flat]).output[0])
        count += 1
    view.sweep()
    return count


def fuse_attention(view: GraphView) -> int:
    """Replaces each attention by one com.microsoft.MultiHeadAttention; returns how many. Answers change by rounding."""
    count = 0
    for softmax in view.nodes("Softmax"):
        a = find_attention(view, softmax)
        if a is None:
            continue
        need_domain(view.model)
        fused = view.add_node("MultiHeadAttention", [a.q, a.k, a.v], domain=MICROSOFT, num_heads=a.heads, scale=a.scale)
        view.rewire(a.out, fused.output[0])
        count += 1
    view.sweep()
    return count


def _unscaled(view: GraphView, name: str) -> tuple[str, float]:
    """The tensor before a product or quotient with one constant number, and that number."""
    node = view.maker(name, "Mul", "Div")
    if node is None:
        return name, 1.0
    for constant in node.input[1:] if node.op_type == "Div" else node.input:
        number, rest = view.scalar(constant), other_input(node, constant)
        if number is not None and number != 0 and rest is not None:
            return rest, (1.0 / number if node.op_type == "Div" else number)
    return name, 1.0


def _read_twice(view: GraphView, product: NodeProto, softmax: NodeProto) -> bool:
    """Whether another node reads the scores."""
    name = product.output[0]
    while name != softmax.input[0]:
        reader = view.only_reader(name, "Mul", "Div")
        if reader is None:
            return True
        name = reader.output[0]
    return view.only_reader(name, "Softmax") is None


def _heads(view: GraphView, name: str, perm: list[int]) -> tuple[str, int, int] | None:
    """(matrix, heads, size) of Transpose(Reshape(matrix, [1,-1,heads,size]), perm)."""
    transpose = view.maker(name, "Transpose")
    if transpose is None or list(attribute(transpose, "perm", [])) != perm:
        return None
    reshape = view.maker(transpose.input[0], "Reshape")
    shape = view.constant(reshape.input[1]) if reshape is not None else None
    if reshape is None or shape is None or shape.size != 4 or min(shape[2:]) < 1:
        return None
    return str(reshape.input[0]), int(shape[2]), int(shape[3])


def _joined(view: GraphView, name: str) -> tuple[str, int] | None:
    """(tensor, width) of Reshape(Transpose(name, [0,2,1,3]), [1,-1,width])."""
    transpose = view.only_reader(name, "Transpose")
    if transpose is None or list(attribute(transpose, "perm", [])) != [0, 2, 1, 3]:
        return None
    reshape = view.only_reader(transpose.output[0], "Reshape")
    shape = view.constant(reshape.input[1]) if reshape is not None else None
    if reshape is None or shape is None or shape.size != 3:
        return None
    return str(reshape.output[0]), int(shape[2])
