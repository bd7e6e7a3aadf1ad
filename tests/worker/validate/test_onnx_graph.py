"""What an ONNX file says of itself is read without trusting it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper
from tests.support import PATIENCE_SECONDS

from modelward.worker.validate.onnx_graph import (
    BadGraph,
    Signature,
    external_weights,
    operators,
    read_graph,
    wrong_operators,
    wrong_weights,
)


def model(*nodes: onnx.NodeProto, weights: tuple[onnx.TensorProto, ...] = (), opset: int = 14) -> onnx.ModelProto:
    graph = helper.make_graph(
        list(nodes) or [helper.make_node("Identity", ["x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        list(weights),
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def external(location: str, *, offset: str = "0", length: str = "12", name: str = "W") -> onnx.TensorProto:
    tensor = numpy_helper.from_array(np.zeros(3, dtype=np.float32), name)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        tensor.external_data.add(key=key, value=value)
    return tensor


def test_a_file_shows_the_same_signature_as_a_session(tmp_path: Path) -> None:
    path = Path(__file__).parents[2] / "vectors" / "model-sherpa" / "model.onnx"
    signature, session = Signature(read_graph(path)), ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    for ours, theirs in (
        (signature.get_inputs(), session.get_inputs()),
        (signature.get_outputs(), session.get_outputs()),
    ):
        assert [(p.name, p.type, p.shape) for p in ours] == [(p.name, p.type, p.shape) for p in theirs]
    assert signature.get_modelmeta().custom_metadata_map == session.get_modelmeta().custom_metadata_map


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "it is empty"),
        (b"\x00" * 100, "not an ONNX file"),
        (model().SerializeToString()[:-5], "truncated or damaged"),
        (b"\x08\x08", "it holds no graph"),
    ],
)
def test_refuses_a_file_that_is_no_graph(data: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(data)
    with pytest.raises(BadGraph, match=words):
        read_graph(tmp_path / "model.onnx")


@pytest.mark.parametrize(
    ("tensor", "words"),
    [
        (external("data", length="13"), "end at byte 13 of data, which has 12"),
        (external("data", offset="1"), "end at byte 13 of data, which has 12"),
        (external("data", offset="-1"), "end at byte 11 of data"),
        (external("data", offset="x"), "no number"),
        (external("other"), "are in other, which is missing"),
        (external("../data"), "outside the version: '../data'"),
        (external("sub/../../data"), "outside the version"),
        (external("/data"), "outside the version"),
        (external(""), "outside the version"),
        (external("*/_ORT_MEM_ADDR_/*", offset="4096"), "which is missing"),
    ],
)
def test_refuses_weights_that_are_not_where_the_graph_says(tensor: onnx.TensorProto, words: str) -> None:
    assert words in wrong_weights(model(weights=(tensor,)), {"data": 12})


def test_accepts_weights_inside_the_version() -> None:
    good = (external("data"), external("./sub/more", offset="4", name="V"))
    assert wrong_weights(model(weights=good), {"data": 12, "sub/more": 16}) == ""


def test_finds_weights_and_operators_in_branches_functions_and_attributes() -> None:
    branch = helper.make_graph(
        [helper.make_node("Mystery", ["x"], ["b"], domain="com.example")],
        "branch",
        [],
        [helper.make_tensor_value_info("b", TensorProto.FLOAT, None)],
        [external("in-branch")],
    )
    made = model(
        helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch),
        helper.make_node("Constant", [], ["k"], value=external("in-constant")),
        helper.make_node("Own", ["x"], ["z"], domain="mine"),
    )
    function = helper.make_function(
        "mine",
        "Own",
        ["x"],
        ["z"],
        [helper.make_node("Constant", [], ["z"], value=external("in-function"))],
        [helper.make_opsetid("", 14)],
    )
    made.functions.append(function)
    found = {entry.value for t in external_weights(made) for entry in t.external_data if entry.key == "location"}
    assert found == {"in-branch", "in-constant", "in-function"}
    assert operators(made) == {("", "If"), ("", "Constant"), ("com.example", "Mystery")}
    assert (
        wrong_operators(made) == "it uses the custom operator Mystery of com.example, which ONNX Runtime does not have"
    )


def test_names_operators_and_opsets_nobody_knows() -> None:
    assert "the operator Nonsense" in wrong_operators(model(helper.make_node("Nonsense", ["x"], ["y"])))
    assert "needs ONNX opset 99" in wrong_operators(model(opset=99))
    assert wrong_operators(model()) == ""


def test_want_of_memory_is_told_from_damage(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    weights = numpy_helper.from_array(np.zeros(64 << 20, np.uint8), "W")
    path.write_bytes(model(weights=(weights,)).SerializeToString())
    script = (
        "import resource, sys, pathlib\n"
        "from modelward.worker.validate import onnx_graph as graph\n"
        "used = int(open('/proc/self/statm').read().split()[5]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_DATA, (used + (40 << 20), used + (40 << 20)))\n"
        "try:\n    graph.read_graph(pathlib.Path(sys.argv[1]))\n"
        "except MemoryError as e:\n    print('no memory')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, path], capture_output=True, text=True, timeout=PATIENCE_SECONDS
    )
    assert done.stdout.strip() == "no memory", done.stderr
