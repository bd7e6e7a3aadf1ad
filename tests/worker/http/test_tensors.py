from __future__ import annotations

import struct
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from modelward.worker.http import tensors
from modelward.worker.http.errors import ApiError
from modelward.worker.http.tensors import InferRequest, read_request, write_answer
from modelward.worker.inference.tensor_model import DTYPES, TensorPort

X = TensorPort("x", "FP32", (-1, 3))
Y = TensorPort("y", "FP32", (-1, 2))


def ask(
    body: Any, *binary: bytes, ports: tuple[TensorPort, ...] = (X,), outputs: tuple[TensorPort, ...] = (Y,)
) -> InferRequest:
    head = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return read_request(head + b"".join(binary), len(head) if binary else None, ports, outputs)


def one(data: Any = None, *, shape: list[int] | None = None, datatype: str = "FP32", **more: Any) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": "x", "shape": [1, 3] if shape is None else shape, "datatype": datatype, **more}
    return {"inputs": [entry if data is None else {**entry, "data": data}]}


def test_json_data_may_be_flat_or_nested() -> None:
    for data in ([1, 2.5, 3], [[1, 2.5, 3]]):
        wanted = ask(one(data))
        assert wanted.feeds["x"].tolist() == [[1, 2.5, 3]] and wanted.feeds["x"].dtype == np.float32
        assert wanted.outputs == {"y": False} and wanted.id == ""


@pytest.mark.parametrize("datatype", [d for d in DTYPES if d != "BYTES"])
@given(data=st.data())
def test_numbers_come_back_as_they_went(datatype: str, data: st.DataObject) -> None:
    port = TensorPort("x", datatype, (-1, -1))
    array = data.draw(hnp.arrays(DTYPES[datatype], hnp.array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=4)))
    raw = array.tobytes()
    body = one(shape=list(array.shape), datatype=datatype, parameters={"binary_data_size": len(raw)})
    body["parameters"] = {"binary_data_output": True}
    head = msgspec.json.encode(body)
    wanted = read_request(head + raw, len(head), (port,), (port,))
    assert wanted.feeds["x"].tobytes() == raw and wanted.feeds["x"].shape == array.shape
    answer, *binary = write_answer({"model_name": "m"}, wanted, (port,), [wanted.feeds["x"]])
    told = msgspec.json.decode(answer)["outputs"][0]
    assert b"".join(binary) == raw and told["parameters"]["binary_data_size"] == len(raw)
    assert told["shape"] == list(array.shape) and told["datatype"] == datatype and "data" not in told


@given(st.lists(st.text(), max_size=6))
def test_texts_come_back_as_they_went(texts: list[str]) -> None:
    port = TensorPort("x", "BYTES", (-1,))
    raw = b"".join(struct.pack("<I", len(t.encode())) + t.encode() for t in texts)
    body = one(shape=[len(texts)], datatype="BYTES", parameters={"binary_data_size": len(raw)})
    wanted = ask(
        {**body, "outputs": [{"name": "x", "parameters": {"binary_data": True}}]}, raw, ports=(port,), outputs=(port,)
    )
    assert wanted.feeds["x"].tolist() == texts
    _, *binary = write_answer({}, wanted, (port,), [wanted.feeds["x"]])
    assert b"".join(binary) == raw
    flat = ask(one(texts, shape=[len(texts)], datatype="BYTES"), ports=(port,), outputs=(port,))
    assert flat.feeds["x"].tolist() == texts
    assert msgspec.json.decode(write_answer({}, flat, (port,), [flat.feeds["x"]])[0])["outputs"][0]["data"] == texts


def test_outputs_are_those_asked_for_in_that_order() -> None:
    ports = (Y, TensorPort("z", "INT64", ()))
    wanted = ask({**one([1, 2, 3]), "outputs": [{"name": "z"}], "id": "7"}, outputs=ports)
    assert wanted.outputs == {"z": False}
    body = msgspec.json.decode(write_answer({"model_name": "m"}, wanted, ports, [np.array(5)])[0])
    expected = {"name": "z", "datatype": "INT64", "shape": [], "data": [5]}
    assert body == {"model_name": "m", "id": "7", "outputs": [expected]}


def test_half_precision_is_readable_json_too() -> None:
    ports = (TensorPort("h", "FP16", (2,)), TensorPort("b", "BF16", (2,)))
    wanted = ask(one([1, 2, 3]), outputs=ports)
    arrays = [np.array([0.5, np.nan], np.float16), np.array([0x3F80, 0xC000], np.uint16)]
    outputs = msgspec.json.decode(write_answer({}, wanted, ports, arrays)[0])["outputs"]
    assert [entry["data"] for entry in outputs] == [[0.5, None], [1.0, -2.0]]


BAD: list[tuple[Any, bytes, str]] = [
    (b"", b"", "JSON is wrong"),
    (b"{", b"", "JSON is wrong"),
    (b"[" * 100_000, b"", "JSON is wrong"),
    ({}, b"", "inputs"),
    ({"inputs": []}, b"", r"missing inputs: x FP32\[-1,3\]"),
    ({"inputs": [{"name": "q", "shape": [1], "datatype": "FP32", "data": [1]}]}, b"", "there is no input 'q'"),
    ({"inputs": one([1, 2, 3])["inputs"] * 2}, b"", "comes twice"),
    (one([1, 2, 3], datatype="INT64"), b"", r"is FP32\[-1,3\], not INT64"),
    (one([1, 2, 3], shape=[3]), b"", r"the shape sent is \[3\]"),
    (one([1, 2, 3], shape=[1, 4]), b"", r"the shape sent is \[1, 4\]"),
    (one([1, 2, 3], shape=[-1, 3]), b"", "the shape sent"),
    (one([1, 2, 3], shape=[2, 3]), b"", "3 elements"),
    (one([1, 2, 3], shape=[10**30, 3]), b"", "3 elements"),
    (one([], shape=[10**30, 3]), b"", "0 elements"),
    (one([[1, 2], [3]]), b"", "is no FP32"),
    (one([[1], [2], [3]]), b"", r"has the shape \[3, 1\]"),
    (one([[[1, 2, 3]]]), b"", "is wrong"),
    (one(["1", "2", "3"]), b"", "is wrong"),
    (one([True, False, True]), b"", "is wrong"),
    (one(7), b"", "is wrong"),
    (one(), b"", "neither data nor binary_data_size"),
    (one([1, 2, 3], shape=[1] * 40), b"", "JSON is wrong"),
    (one(parameters={"binary_data_size": 12}), bytes(11), "11 bytes are left"),
    (one(parameters={"binary_data_size": 8}), bytes(8), "takes 12 bytes, 8 came"),
    (one(parameters={"binary_data_size": 12}), bytes(13), "1 bytes after the JSON"),
    (one(parameters={"binary_data_size": -1}), bytes(12), "is -1"),
    (one(parameters={"binary_data_size": True}), bytes(12), "is True"),
    (one(parameters={"binary_data_size": "12"}), bytes(12), "is '12'"),
    (one([1, 2, 3], parameters={"binary_data_size": 12}), bytes(12), "one of them"),
    (one(parameters={"shared_memory_region": "r"}), b"", "shared_memory_region is not supported"),
    ({**one([1, 2, 3]), "outputs": [{"name": "q"}]}, b"", "there is no output 'q'"),
    ({**one([1, 2, 3]), "outputs": [{"name": "y"}, {"name": "y"}]}, b"", "asked for twice"),
    ({**one([1, 2, 3]), "outputs": [{"name": "y", "parameters": {"classification": 3}}]}, b"", "classification"),
    ({**one([1, 2, 3]), "parameters": {"sequence_id": 5}}, b"", "sequences"),
    ({**one([1, 2, 3]), "id": "x" * 2000}, b"", "JSON is wrong"),
]


@pytest.mark.parametrize(("body", "binary", "reason"), BAD)
def test_what_does_not_fit_is_said(body: Any, binary: bytes, reason: str) -> None:
    with pytest.raises(ApiError, match=reason) as caught:
        ask(body, *([binary] if binary else []))
    assert caught.value.status == 400 and caught.value.message.startswith("cannot infer: ")
    assert len(caught.value.message) < 400


@pytest.mark.parametrize(
    ("datatype", "data", "reason"),
    [
        ("UINT8", [256], "is no UINT8"),
        ("UINT8", [-1], "is no UINT8"),
        ("INT64", [2**63], "is no INT64"),
        ("INT32", [1.5], "is wrong"),
        ("INT32", [True], "is wrong"),
        ("BOOL", [1], "is wrong"),
        ("BYTES", [1], "is wrong"),
        ("FP16", [1.0], "binary data only"),
        ("BF16", [1.0], "binary data only"),
    ],
)
def test_json_numbers_must_be_of_the_type(datatype: str, data: list[Any], reason: str) -> None:
    with pytest.raises(ApiError, match=reason):
        ask(one(data, shape=[1], datatype=datatype), ports=(TensorPort("x", datatype, (-1,)),))


@pytest.mark.parametrize(
    ("raw", "shape", "reason"),
    [
        (b"\x05\0\0\0ab", [1], "ends past"),
        (b"\xff\xff\xff\xffab", [1], "ends past"),
        (b"\x01\0\0", [1], "exactly 1 strings"),
        (b"\x01\0\0\0a", [2], "exactly 2 strings"),
        (b"\x01\0\0\0a\x01\0\0\0b", [1], "exactly 1 strings"),
        (b"\x01\0\0\0\xff", [1], "not UTF-8"),
        (b"x", [0], "exactly 0 strings"),
        (b"", [1 << 21], "at most 1048576"),
    ],
)
def test_strings_must_be_whole(raw: bytes, shape: list[int], reason: str) -> None:
    body = one(shape=shape, datatype="BYTES", parameters={"binary_data_size": len(raw)})
    with pytest.raises(ApiError, match=reason):
        ask(body, raw or b"", ports=(TensorPort("x", "BYTES", (-1,)),))


def test_any_byte_but_zero_is_true() -> None:
    wanted = ask(
        one(shape=[3], datatype="BOOL", parameters={"binary_data_size": 3}),
        b"\x00\x01\x02",
        ports=(TensorPort("x", "BOOL", (3,)),),
    )
    assert wanted.feeds["x"].tolist() == [False, True, True]


def test_json_is_bounded_and_the_way_out_is_said() -> None:
    body = b'{"inputs":[' + b" " * tensors.MAX_JSON_BYTES + b"]}"
    with pytest.raises(ApiError, match="send binary data instead") as caught:
        read_request(body, None, (X,), (Y,))
    assert caught.value.status == 413
    with pytest.raises(ApiError, match="Content-Length is 99"):
        read_request(b"{}", 99, (X,), (Y,))


def test_an_answer_too_large_for_json_is_asked_for_as_binary() -> None:
    many = np.broadcast_to(np.float32(0), (tensors.MAX_JSON_NUMBERS + 1,))
    with pytest.raises(ApiError, match="ask for binary data"):
        write_answer({}, InferRequest("", {}, {"y": False}), (Y,), [many])
    too_many = np.broadcast_to(np.float64(0), (tensors.MAX_ANSWER_BYTES,))
    with pytest.raises(ApiError, match="at most 268435456"):
        write_answer({}, InferRequest("", {}, {"y": True}), (Y,), [too_many])


@given(st.binary(max_size=200), st.none() | st.integers(0, 300))
def test_no_bytes_make_it_fail_otherwise(data: bytes, length: int | None) -> None:
    with pytest.raises(ApiError) as caught:
        read_request(data, length, (X,), (Y,))
    assert caught.value.status == 400
