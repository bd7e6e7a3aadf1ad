"""Unsigned int8 weights re-encoded as signed, without loss.

MatMulInteger, MatMulIntegerToFloat and DynamicQuantizeMatMul compute with `weight - zero_point`: subtracting one number
from both, and storing both as int8, leaves every product unchanged. It pays where the CPU multiplies unsigned by signed
bytes into 32 bits. On x86 without VNNI or AMX, pairs of such products are summed in 16 bits first. There the sum
saturates and answers change, unless every weight has 7 bits: 255 * 64 * 2 is less than 2 ** 15.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from onnx import TensorProto

from .graph import GraphView

# flags of x86 (VNNI, AMX) and of ARM (dot products)
EXACT_PRODUCTS = frozenset({"avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm"})
SEVEN_BITS = 64  # the largest magnitude for which two products with 255 fit in 16 bits
# operator → positions of its constant weight and of that weight's zero point
PLACES = {"MatMulInteger": (1, 3), "MatMulIntegerToFloat": (1, 5), "DynamicQuantizeMatMul": (1, 3)}


def multiplies_exactly(flags: Iterable[str]) -> bool:
    """Whether a processor with these /proc/cpuinfo flags sums u8 x s8 products in 32 bits."""
    return not EXACT_PRODUCTS.isdisjoint(flags)


def requantise(view: GraphView) -> int:
    """Re-encodes in place every weight that has no other use; returns the number of changed weights."""
    return _requantise(view, shift=128, greatest=255)


def requantise_seven_bits(view: GraphView) -> int:
    """The same for weights of 0 to 128 (quantised with a reduced range): from -64 to 64 they are exact on any
    processor.
    """
    return _requantise(view, shift=SEVEN_BITS, greatest=2 * SEVEN_BITS)


def _requantise(view: GraphView, *, shift: int, greatest: int) -> int:
    """Subtracts `shift` from every weight with values up to `greatest`, and from its zero point."""
    wanted: dict[str, str] = {}
    for node in view.nodes(*PLACES):
        weight, zero = (node.input[i] if i < len(node.input) else "" for i in PLACES[node.op_type])
        if _unsigned(view, weight) and (not zero or _unsigned(view, zero)):
            wanted[weight] = zero
    left = {name for pair in wanted.items() for name in pair if name and not _only_there(view, name)}
    for weight, zero in wanted.items():
        if not (_fits(view, weight, greatest) and (not zero or _fits(view, zero, shift + 127))):
            left |= {weight, zero} - {""}
    changed = {weight: zero for weight, zero in wanted.items() if left.isdisjoint((weight, zero))}
    for name in dict.fromkeys(name for pair in changed.items() for name in pair if name):
        _subtract(view, view.initializers[name], shift)
    for weight, zero in changed.items():
        if not zero:
            _give_zero_point(view, weight, shift)
    return len(changed)


def _fits(view: GraphView, name: str, greatest: int) -> bool:
    return greatest >= 255 or int(view.value(view.initializers[name]).max(initial=0)) <= greatest


def _unsigned(view: GraphView, name: str) -> bool:
    return name in view.initializers and view.initializers[name].data_type == TensorProto.UINT8


def _only_there(view: GraphView, name: str) -> bool:
    """Whether a tensor is shared only between weights, or only between zero points, of these operators."""
    places = {(n.op_type in PLACES, i == PLACES.get(n.op_type, (-1, -1))[0], i in PLACES.get(n.op_type, ()))
              for n in view.readers[name] for i, x in enumerate(n.input) if x == name}  # fmt: skip
    return name not in view.outputs and len(places) == 1 and all(known and fits for known, _, fits in places)


def _subtract(view: GraphView, tensor: TensorProto, shift: int) -> None:
    value = view.value(tensor)
    signed = (value ^ np.uint8(128)).view(np.int8) if shift == 128 else (value.astype(np.int16) - shift).astype(np.int8)
    tensor.data_type, tensor.data_location = TensorProto.INT8, TensorProto.DEFAULT
    del tensor.external_data[:]
    tensor.ClearField("int32_data")
    tensor.raw_data = signed.tobytes()


def _give_zero_point(view: GraphView, weight: str, shift: int) -> None:
    """Gives a weight without a zero point one: it meant 0."""
    zero = view.add_constant(np.array(-shift, np.int8), "zero_point")
    for node in view.readers[weight]:
        place = PLACES[node.op_type][1]
        while len(node.input) <= place:
            node.input.append("")
        node.input[place] = zero
        view.readers[zero].append(node)
