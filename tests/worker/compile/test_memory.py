"""The memory convolution is handed to the blocked kernel only when it is one."""

from __future__ import annotations

from typing import Any

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
)

from modelward.worker.compile.memory import block_convolutions

CHANNELS, TAPS = 64, 11


def memory(
    *, group: int = CHANNELS, perm: tuple[int, ...] = (0, 2, 1), stride: int = 1, **more: Any
) -> onnx.ModelProto:
    weight = np.random.default_rng(0).normal(0, 0.3, (CHANNELS, CHANNELS // group, TAPS)).astype(np.float32)
    nodes = [
        node("Transpose", ["x"], ["t"], perm=[0, 2, 1]),
        node("Conv", ["t", "w"], ["c"], group=group, kernel_shape=[TAPS], pads=[5, 5], strides=[stride], **more),
        node("Transpose", ["c"], ["y"], perm=list(perm)),
    ]
    return graph(nodes, {"x": (F, [1, "T", CHANNELS])}, {"y": (F, None)}, {"w": weight})


@pytest.mark.parametrize("frames", [1, 4, 88, 504])
@pytest.mark.parametrize("more", [{}, {"dilations": [1]}])
def test_the_blocked_form_answers_the_same_but_for_rounding(frames: int, more: dict[str, Any]) -> None:
    model = memory(**more)
    blocked, count = rewritten(model, block_convolutions)
    x = {"x": np.random.default_rng(frames).normal(0, 1, (1, frames, CHANNELS)).astype(np.float32)}
    assert count == 1
    np.testing.assert_allclose(run(blocked, x)[0], run(model, x)[0], atol=1e-5)


@pytest.mark.parametrize("other", [memory(group=1), memory(stride=2), memory(perm=(2, 1, 0))])
def test_other_convolutions_are_left_alone(other: onnx.ModelProto) -> None:
    untouched, count = rewritten(other, block_convolutions)
    assert count == 0
    assert kinds(untouched) == kinds(other)
