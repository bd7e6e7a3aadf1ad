"""Attention is recognised by its structure and replaced by forms that answer the same; anything else is left alone."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from tests.worker.compile.graphs import (
    F,
    graph,
    kinds,
    node,
    rewritten,
    run,
    same_bits,
)

from modelward.worker.compile.attention import fuse_attention, stride_attention

HEADS, SIZE = 4, 16
WIDTH = HEADS * SIZE


def attention(
    *, scale_at: str = "q", key_perm: tuple[int, ...] = (0, 2, 3, 1), axis: int = -1, **more: bool
) -> onnx.ModelProto:
    """q, k, v [1,T,64] → [1,T,64]; `scale_at` says which tensor is scaled, by a product or for "div" a quotient."""
    constants = {
        "split": np.array([1, -1, HEADS, SIZE], np.int64),
        "join": np.array([1, -1, WIDTH], np.int64),
        "scale": np.array(SIZE**-0.5, np.float32),
        "root": np.array(SIZE**0.5, np.float32),
    }
    nodes = [node("Reshape", [x, "split"], [f"{x}4"]) for x in "qkv"]
    nodes += [node("Transpose", [f"{x}4"], [f"{x}h"], perm=[0, 2, 1, 3]) for x in "qv"]
    nodes += [node("Transpose", ["k4"], ["kh"], perm=list(key_perm))]
    q, k, scores = "qh", "kh", "scores"
    if scale_at in ("q", "k"):
        nodes.append(node("Mul", [f"{scale_at}h", "scale"], [f"{scale_at}s"]))
        q, k = ("qs", "kh") if scale_at == "q" else ("qh", "ks")
    nodes.append(node("MatMul", [q, k], ["scores"]))
    if scale_at in ("scores", "div"):
        kind, by = ("Mul", "scale") if scale_at == "scores" else ("Div", "root")
        nodes.append(node(kind, ["scores", by], ["scaled"]))
        scores = "scaled"
    nodes += [
        node("Softmax", [scores], ["weights"], axis=axis),
        node("MatMul", ["weights", "vh"], ["mixed"]),
        node("Transpose", ["mixed"], ["back"], perm=[0, 2, 1, 3]),
        node("Reshape", ["back", "join"], ["y"]),
    ]
    outputs = {"y": (F, None)} | ({"weights": (F, None)} if more.get("weights_leave") else {})
    return graph(nodes, {x: (F, [1, "T", WIDTH]) for x in "qkv"}, outputs, constants)


def feeds(frames: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(frames)
    return {x: random.normal(0, 1, (1, frames, WIDTH)).astype(np.float32) for x in "qkv"}


@pytest.mark.parametrize("scale_at", ["q", "k", "scores", "div", "none"])
@pytest.mark.parametrize("frames", [1, 5, 88])
def test_both_forms_answer_as_the_spelled_out_one(scale_at: str, frames: int) -> None:
    model, x = attention(scale_at=scale_at), feeds(frames)
    wanted = run(model, x)
    for rewrite in (stride_attention, fuse_attention):
        other, count = rewritten(model, rewrite)
        assert count == 1
        np.testing.assert_allclose(run(other, x)[0], wanted[0], atol=2e-6)


@pytest.mark.parametrize("frames", [1, 2, 37, 200])
def test_heads_read_in_place_give_the_same_bits(frames: int) -> None:
    model, x = attention(), feeds(frames)
    strided, _ = rewritten(model, stride_attention)
    assert kinds(strided).count("Transpose") == 1
    assert same_bits(run(model, x), run(strided, x))


def test_fused_attention_is_one_node() -> None:
    assert set(kinds(rewritten(attention(), fuse_attention)[0])) <= {"MultiHeadAttention", "Identity"}


@pytest.mark.parametrize(
    "other",
    [attention(axis=1), attention(key_perm=(0, 2, 1, 3)), attention(weights_leave=True)],
    ids=["softmax over heads", "keys not transposed", "weights are an output"],
)
def test_anything_else_is_left_alone(other: onnx.ModelProto) -> None:
    for rewrite in (stride_attention, fuse_attention):
        untouched, count = rewritten(other, rewrite)
        assert count == 0
        assert kinds(untouched) == kinds(other)
