"""Unsigned int8 weights re-encoded as signed, without loss.

MatMulInteger, MatMulIntegerToFloat and DynamicQuantizeMatMul compute with `weight - zero_point`: subtracting 128 from
both, and storing both as int8, leaves every product unchanged. It pays only where the CPU multiplies unsigned by signed
bytes into 32 bits (VNNI, AMX); elsewhere such products saturate in 16 bits and answers change, so there it is not done.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from onnx import TensorProto, numpy_helper

from .graph import View

EXACT_PRODUCTS = frozenset({"avx512_vnni", "avx_vnni", "amx_int8"})
# operator → places of its constant weight and of that weight's zero point
PLACES = {"MatMulInteger": (1, 3), "MatMulIntegerToFloat": (1, 5), "DynamicQuantizeMatMul": (1, 3)}


def multiplies_exactly(flags: Iterable[str]) -> bool:
    """Whether u8 x s8 products are summed in 32 bits on a CPU with these /proc/cpuinfo flags."""
    return not EXACT_PRODUCTS.isdisjoint(flags)


def requantise(view: View) -> int:
    """Re-encode in place every weight that is used in no other way; the number of weights changed."""
    wanted: dict[str, str] = {}
    for node in view.nodes(*PLACES):
        weight, zero = (node.input[i] if i < len(node.input) else "" for i in PLACES[node.op_type])
        if _unsigned(view, weight) and (not zero or _unsigned(view, zero)):
            wanted[weight] = zero
    shared = {name for name in (*wanted, *wanted.values()) if name and not _only_there(view, name)}
    done: dict[str, None] = {}
    for weight, zero in wanted.items():
        if weight in shared or zero in shared:
            continue
        for name in filter(None, (weight, zero)):
            if name not in done:
                _shift(view.initializers[name])
                done[name] = None
        if not zero:
            _give_zero_point(view, weight)
    return sum(1 for w in wanted if w in done)


def _unsigned(view: View, name: str) -> bool:
    return name in view.initializers and view.initializers[name].data_type == TensorProto.UINT8


def _only_there(view: View, name: str) -> bool:
    """A tensor may be shared, but only between weights or only between zero points of these operators."""
    places = {(n.op_type in PLACES, i == PLACES.get(n.op_type, (-1, -1))[0], i in PLACES.get(n.op_type, ()))
              for n in view.readers[name] for i, x in enumerate(n.input) if x == name}  # fmt: skip
    return name not in view.outputs and len(places) == 1 and all(known and fits for known, _, fits in places)


def _shift(tensor: TensorProto) -> None:
    name = tensor.name
    value = numpy_helper.to_array(tensor).astype(np.int16) - 128
    tensor.CopyFrom(numpy_helper.from_array(value.astype(np.int8), name))


def _give_zero_point(view: View, weight: str) -> None:
    """A weight without a zero point meant 0; shifted it means -128."""
    zero = view.add_constant(np.array(-128, np.int8), "zero_point")
    for node in view.readers[weight]:
        place = PLACES[node.op_type][1]
        while len(node.input) <= place:
            node.input.append("")
        node.input[place] = zero
        view.readers[zero].append(node)
