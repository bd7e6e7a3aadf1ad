"""Lets the memory convolution along time use the blocked kernel.

A depthwise Conv over [B,C,T] between two transpositions runs one channel after the other. ONNX Runtime's layout
optimisation handles the same convolution over [B,C,1,T]: it takes sixteen channels at a time and removes both
transpositions. Taps are summed in the same order.
"""

from __future__ import annotations

import numpy as np
from onnx import NodeProto

from .graph import GraphView, attribute


def block_convolutions(view: GraphView) -> int:
    """Gives depthwise convolutions between transpositions a height of one; returns how many."""
    count = 0
    for conv in view.nodes("Conv"):
        before = view.maker(conv.input[0], "Transpose")
        after = view.only_reader(conv.output[0], "Transpose")
        if (
            before is None
            or after is None
            or not all(list(attribute(t, "perm", [])) == [0, 2, 1] for t in (before, after))
        ):
            continue
        weight = view.initializers.get(conv.input[1])
        if weight is None or len(weight.dims) != 3 or not _depthwise(conv, list(weight.dims)):
            continue
        _replace(view, conv, str(before.input[0]), str(after.output[0]))
        count += 1
    view.sweep()
    return count


def _depthwise(conv: NodeProto, dims: list[int]) -> bool:
    plain = attribute(conv, "auto_pad", "NOTSET") == "NOTSET" and list(attribute(conv, "strides", [1])) == [1]
    return plain and dims[1] == 1 and attribute(conv, "group", 1) == dims[0]


def _replace(view: GraphView, conv: NodeProto, source: str, target: str) -> None:
    """source [1,T,C] → [1,1,T,C] → [1,C,1,T] → Conv → back."""
    kernel = view.value(view.initializers[conv.input[1]])
    channels, _, taps = kernel.shape
    pads = [int(p) for p in attribute(conv, "pads", [0, 0])]
    dilation = int(attribute(conv, "dilations", [1])[0])
    raised = view.add_constant(np.array([1, 1, -1, channels], np.int64), "shape")
    x = view.add_node("Reshape", [source, raised]).output[0]
    x = view.add_node("Transpose", [x], perm=[0, 3, 1, 2]).output[0]
    inputs = [x, view.add_constant(np.ascontiguousarray(kernel[:, :, None, :]), "taps"), *conv.input[2:]]
    x = view.add_node(
        "Conv",
        inputs,
        group=channels,
        kernel_shape=[1, taps],
        strides=[1, 1],
        dilations=[1, dilation],
        pads=[0, pads[0], 0, pads[1]],
    ).output[0]
    x = view.add_node("Transpose", [x], perm=[0, 2, 3, 1]).output[0]
    lowered = view.add_constant(np.array([1, -1, channels], np.int64), "shape")
    view.rewire(target, view.add_node("Reshape", [x, lowered]).output[0])
