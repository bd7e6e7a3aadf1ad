"""Unsigned weights become signed without any answer changing, and only where the CPU multiplies them rightly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper
from tests.examples import examples
from tests.worker.compile.graphs import (
    F,
    graph,
    node,
    quantised_linear,
    rewritten,
    run,
    same_bits,
)

from modelward.worker.compile.requantise import multiplies_exactly, requantise, requantise_seven_bits
from modelward.worker.shared.form_key import flags_in

HERE = flags_in(Path("/proc/cpuinfo").read_text())
needs_vnni = pytest.mark.skipif(not multiplies_exactly(HERE), reason="this CPU has no VNNI")


def linear(weight: np.ndarray, *, per_tensor: bool = False) -> onnx.ModelProto:
    nodes, constants = quantised_linear("x", "y", weight, "l", per_tensor=per_tensor)
    return graph(nodes, {"x": (F, ["T", len(weight)])}, {"y": (F, None)}, constants)


def types(model: onnx.ModelProto) -> set[np.dtype]:
    return {numpy_helper.to_array(t).dtype for t in model.graph.initializer} - {np.dtype("float32")}


@needs_vnni
@settings(max_examples=examples(40))
@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(1, 40), depth=st.integers(1, 300), columns=st.integers(1, 70))
def test_every_bit_of_the_product_stays(seed: int, rows: int, depth: int, columns: int) -> None:
    random = np.random.default_rng(seed)
    model = linear(random.normal(0, 1, (depth, columns)), per_tensor=bool(seed % 2))
    signed, count = rewritten(model, requantise)
    x = {"x": random.normal(0, 3, (rows, depth)).astype(np.float32)}
    assert count == 1
    assert types(signed) == {np.dtype("int8")}
    assert same_bits(run(model, x), run(signed, x))


@needs_vnni
def test_extreme_weights_do_not_saturate() -> None:
    x = np.full((3, 256), 1.0, np.float32)
    model = linear(np.where(np.arange(64) % 2, 1.0, -1.0)[None].repeat(256, 0))
    signed, _ = rewritten(model, requantise)
    assert same_bits(run(model, {"x": x}), run(signed, {"x": x}))


@needs_vnni
def test_a_weight_without_a_zero_point_is_given_one() -> None:
    weight = np.random.default_rng(0).integers(0, 256, (32, 8)).astype(np.uint8)
    nodes = [node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]), node("MatMulInteger", ["q", "w", "z"], ["y"])]
    model = graph(nodes, {"x": (F, ["T", 32])}, {"y": (6, None)}, {"w": weight})
    signed, count = rewritten(model, requantise)
    x = {"x": np.random.default_rng(1).normal(0, 1, (5, 32)).astype(np.float32)}
    assert count == 1
    assert same_bits(run(model, x), run(signed, x))


def test_a_weight_used_in_another_way_stays_as_it_is() -> None:
    nodes, constants = quantised_linear("x", "y", np.random.default_rng(0).normal(0, 1, (16, 16)), "l")
    nodes.append(node("Cast", ["l_w"], ["seen"], to=F))
    model = graph(nodes, {"x": (F, ["T", 16])}, {"y": (F, None), "seen": (F, None)}, constants)
    assert rewritten(model, requantise)[1] == 0


def test_signed_weights_are_left_alone() -> None:
    model = linear(np.random.default_rng(0).normal(0, 1, (16, 16)))
    signed, _ = rewritten(model, requantise)
    again, count = rewritten(signed, requantise)
    assert count == 0
    assert again.SerializeToString() == signed.SerializeToString()


@given(seed=st.integers(0, 2**32 - 1), depth=st.integers(1, 300))
@settings(max_examples=examples(20))
def test_weights_of_seven_bits_are_exact_on_every_processor(seed: int, depth: int) -> None:
    """The sum of two products with 255 fits in 16 bits, so this needs no VNNI."""
    random = np.random.default_rng(seed)
    weight = random.choice([0, 1, 64, 127, 128], (depth, 24)).astype(np.uint8)
    zero = random.integers(0, 129, 24).astype(np.uint8)
    nodes = [node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"])]
    nodes += [node("MatMulInteger", ["q", "w", "z", "wz"], ["y"])]
    model = graph(nodes, {"x": (F, ["T", depth])}, {"y": (6, None)}, {"w": weight, "wz": zero})
    signed, count = rewritten(model, requantise_seven_bits)
    stored = next(numpy_helper.to_array(t) for t in signed.graph.initializer if t.name == "w")
    assert count == 1
    assert 2 * 255 * int(abs(stored.astype(np.int32)).max()) < 2**15
    x = {"x": np.full((3, depth), 1.0, np.float32)}
    assert same_bits(run(model, x), run(signed, x))


def test_weights_of_eight_bits_and_what_they_share_are_not_among_them() -> None:
    nodes = [node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"])]
    nodes += [node("MatMulInteger", ["q", w, "z", "wz"], [y]) for w, y in (("small", "y"), ("large", "v"))]
    random = np.random.default_rng(0)
    constants = {
        "small": random.integers(0, 128, (32, 8)).astype(np.uint8),
        "large": random.integers(0, 256, (32, 8)).astype(np.uint8),
        "wz": np.array(100, np.uint8),
    }
    model = graph(nodes, {"x": (F, ["T", 32])}, {"y": (6, None), "v": (6, None)}, constants)
    assert rewritten(model, requantise_seven_bits)[1] == 0


@pytest.mark.parametrize(
    ("flags", "exact"),
    [
        ({"avx2", "avx512f", "avx512_vnni"}, True),
        ({"avx2", "avx_vnni"}, True),
        ({"avx512f", "amx_int8"}, True),
        ({"avx2", "avx512f", "avx512bw"}, False),
        (set(), False),
    ],
)
def test_vnni_decides(flags: set[str], exact: bool) -> None:
    assert multiplies_exactly(flags) is exact
