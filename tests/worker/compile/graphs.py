"""Small graphs for the compiler's tests, and what it takes to run and compare them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from modelward.worker.compile.graph import GraphView
from modelward.worker.shared.machine_features import cpu_flags

Array = npt.NDArray[Any]
F, I32 = TensorProto.FLOAT, TensorProto.INT32
VNNI = frozenset({"avx2", "avx512f", "avx512_vnni"})
HERE = cpu_flags()


def node(
    kind: str, inputs: Sequence[str], outputs: Sequence[str], domain: str = "", **attributes: Any
) -> onnx.NodeProto:
    return helper.make_node(kind, list(inputs), list(outputs), domain=domain, **attributes)


def graph(
    nodes: Sequence[onnx.NodeProto],
    inputs: dict[str, tuple[int, list[Any]]],
    outputs: dict[str, tuple[int, list[Any] | None]],
    constants: dict[str, Array],
) -> onnx.ModelProto:
    made = helper.make_graph(
        list(nodes),
        "g",
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in inputs.items()],
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    sets = [helper.make_opsetid("", 14), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(made, opset_imports=sets, ir_version=8)


def run(model: onnx.ModelProto, feeds: dict[str, Array]) -> list[Array]:
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    known = {i.name for i in session.get_inputs()}
    return [np.asarray(a) for a in session.run(None, {k: v for k, v in feeds.items() if k in known})]


def rewritten(model: onnx.ModelProto, rewrite: Callable[[GraphView], int]) -> tuple[onnx.ModelProto, int]:
    """A rewritten copy, and what the rewrite says it did."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    count = rewrite(GraphView(copy))
    return copy, count


def kinds(model: onnx.ModelProto) -> list[str]:
    return [n.op_type for n in model.graph.node]


def same_bits(one: Sequence[Array], other: Sequence[Array]) -> bool:
    return all(a.tobytes() == b.tobytes() and a.shape == b.shape for a, b in zip(one, other, strict=True))


def quantised_linear(
    x: str, out: str, weight: Array, name: str, *, per_tensor: bool = False
) -> tuple[list[onnx.NodeProto], dict[str, Array]]:
    """Nodes and constants of a dynamically quantised linear layer without bias, weights u8, as exporters write it."""
    low, high = np.minimum(weight.min(0), 0), np.maximum(weight.max(0), 0)
    if per_tensor:
        low, high = np.full_like(low, low.min()), np.full_like(high, high.max())
    scale = ((high - low) / 255).astype(np.float32)
    zero = np.round(-low / scale).astype(np.uint8)
    stored = np.clip(np.round(weight / scale) + zero, 0, 255).astype(np.uint8)
    if per_tensor:
        scale, zero = scale[:1].reshape(()), zero[:1].reshape(())
    n = [f"{name}_{part}" for part in ("q", "s", "z", "sum", "float", "scales")]
    nodes = [
        node("DynamicQuantizeLinear", [x], n[:3]),
        node("MatMulInteger", [n[0], f"{name}_w", n[2], f"{name}_wz"], [n[3]]),
        node("Cast", [n[3]], [n[4]], to=F),
        node("Mul", [n[1], f"{name}_ws"], [n[5]]),
        node("Mul", [n[4], n[5]], [out]),
    ]
    return nodes, {f"{name}_w": stored, f"{name}_wz": zero, f"{name}_ws": scale}
