"""Target shapes become constants for one clip at a time when at most one number in them is unknown."""

from __future__ import annotations

import numpy as np
import onnx
from tests.worker.compile.graphs import (
    F,
    graph,
    kinds,
    node,
    rewritten,
    run,
    same_bits,
)

from modelward.worker.compile.tidy import fix_shapes

CONSTANTS = {f"c{i}": np.array(i, np.int64) for i in range(3)} | {
    "at": np.array([0], np.int64),
    "four": np.array([4], np.int64),
    "rest": np.array([-1], np.int64),
}


def shaped(*pieces: str) -> onnx.ModelProto:
    """x [B,T,8] reshaped to the pieces: d0, d1, d2 are its dimensions, anything else a constant."""
    nodes = [node("Shape", ["x"], ["s"])]
    for axis in range(3):
        nodes.append(node("Gather", ["s", f"c{axis}"], [f"g{axis}"], axis=0))
        nodes.append(node("Unsqueeze", [f"g{axis}", "at"], [f"d{axis}"]))
    nodes += [node("Concat", pieces, ["target"], axis=0), node("Reshape", ["x", "target"], ["y"])]
    return graph(nodes, {"x": (F, ["B", "T", 8])}, {"y": (F, None)}, CONSTANTS)


def test_a_known_batch_makes_the_target_constant() -> None:
    model = shaped("d0", "d1", "four", "rest")
    assert rewritten(model, fix_shapes)[1] == 0  # time and the rest are both unknown
    model = shaped("d0", "rest", "four")
    fixed, count = rewritten(model, fix_shapes)
    x = {"x": np.random.default_rng(0).normal(0, 1, (1, 5, 8)).astype(np.float32)}
    assert count == 1
    assert kinds(fixed) == ["Reshape"]
    assert same_bits(run(model, x), run(fixed, x))


def test_two_unknown_dimensions_stay() -> None:
    fixed, count = rewritten(shaped("d1", "d2"), fix_shapes)
    assert count == 0
    assert kinds(fixed)[-2:] == ["Concat", "Reshape"]
