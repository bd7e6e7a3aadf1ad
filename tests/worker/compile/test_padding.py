"""The padding mask goes where it is provably idle for one clip at full length, and stays everywhere else."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from tests.worker.compile.graphs import (
    I32,
    F,
    graph,
    kinds,
    node,
    rewritten,
    run,
    same_bits,
)

from modelward.worker.compile.padding import drop_padding

CONSTANTS = {
    "zero": np.array(0, np.float32),
    "one": np.array(1, np.float32),
    "low": np.array(-np.inf, np.float32),
    "axis": np.array([1], np.int64),
    "last": np.array([-1], np.int64),
}
FEEDS = {"x": np.random.default_rng(0).normal(0, 1, (1, 4, 7)).astype(np.float32), "n": np.array([7], np.int32)}


def masked(*, longest: str = "ReduceMax", start: str = "zero", compare: str = "Less") -> onnx.ModelProto:
    """x [B,4,T] masked by the lengths n [B] in the ways exporters do: Where before and after a softmax, a product."""
    nodes = [
        node(longest, ["n"], ["longest"], keepdims=0),
        node("Cast", ["longest"], ["end"], to=F),
        node("Range", [start, "end", "one"], ["position"]),
        node("Unsqueeze", ["n", "last"], ["column"]),
        node("Cast", ["column"], ["length"], to=F),
        node(compare, ["position", "length"], ["inside"]),
        node("Cast", ["inside"], ["mask2"], to=F),
        node("Unsqueeze", ["mask2", "axis"], ["mask"]),
        node("Equal", ["mask", "zero"], ["outside"]),
        node("Where", ["outside", "low", "x"], ["scores"]),
        node("Softmax", ["scores"], ["soft"], axis=-1),
        node("Where", ["outside", "zero", "soft"], ["weights"]),
        node("Mul", ["weights", "mask"], ["y"]),
        node("ReduceSum", ["mask2", "axis"], ["count"], keepdims=0),
    ]
    ins: dict[str, tuple[int, list[Any]]] = {"x": (F, ["B", 4, "T"]), "n": (I32, ["B"])}
    return graph(nodes, ins, {"y": (F, None), "count": (F, None)}, CONSTANTS)


def test_mask_goes_and_the_count_of_frames_stays() -> None:
    model = masked()
    plain, removed = rewritten(model, drop_padding)
    assert removed == 3
    assert not {"Where", "Mul", "Equal"} & set(kinds(plain))
    assert "ReduceSum" in kinds(plain)
    assert same_bits(run(model, FEEDS), run(plain, FEEDS))


def test_a_comparison_with_something_else_is_not_a_padding_mask() -> None:
    for other in (masked(longest="ReduceMin"), masked(start="one"), masked(compare="LessOrEqual")):
        plain, removed = rewritten(other, drop_padding)
        assert removed == 0
        assert kinds(plain) == kinds(other)


def test_a_mask_that_is_an_input_stays() -> None:
    nodes = [node("Equal", ["m", "zero"], ["outside"]), node("Where", ["outside", "low", "x"], ["y"])]
    model = graph(nodes, {"x": (F, [1, 7]), "m": (F, [1, 7])}, {"y": (F, None)}, CONSTANTS)
    assert rewritten(model, drop_padding)[1] == 0


def test_products_with_other_numbers_stay() -> None:
    nodes = [node("Mul", ["x", "half"], ["y"])]
    model = graph(nodes, {"x": (F, [1, 7])}, {"y": (F, None)}, {"half": np.array(0.5, np.float32)})
    assert rewritten(model, drop_padding)[1] == 0
