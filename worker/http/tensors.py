"""The Open Inference Protocol's inference messages: bytes to tensors and back, with the binary extension.

Pure. Everything from a client is checked against the model before a tensor is made: names, types, shapes, sizes,
counts. Binary data is little-endian and row-major after the JSON; BYTES are a 4-byte length and UTF-8 text each.
"""

from __future__ import annotations

import math
import struct
import types
from collections.abc import Sequence
from typing import Annotated, Any, Final

import msgspec
import numpy as np
from msgspec import Struct

from ..inference.tensor_model import (
    BF16,
    BYTES,
    DTYPES,
    Array,
    TensorPort,
)
from ..shared.unreadable import UNREADABLE
from .errors import ApiError

MAX_JSON_BYTES: Final = 16 << 20
MAX_STRINGS: Final = 1 << 20
MAX_JSON_NUMBERS: Final = 1 << 22
MAX_ANSWER_BYTES: Final = 256 << 20
ID_CHARS: Final = 1024
TENSORS: Final = 1024
RANK: Final = 32
_JSON_TYPES: Final[dict[str, Any]] = {"BOOL": bool, "FP32": float, "FP64": float, BYTES: str}
_UNSUPPORTED: Final = ("shared_memory_region", "classification")
_LENGTH: Final = struct.Struct("<I")

Parameters = dict[str, Any]


class Input(msgspec.Struct):
    """One input as the JSON has it; `data` is empty when it comes as binary data."""

    name: str
    shape: Annotated[list[int], msgspec.Meta(max_length=RANK)]
    datatype: str
    parameters: Parameters = {}
    data: msgspec.Raw = msgspec.Raw(b"")


class Output(msgspec.Struct):
    """One requested output."""

    name: str
    parameters: Parameters = {}


class Infer(msgspec.Struct):
    """The JSON of a request."""

    inputs: Annotated[list[Input], msgspec.Meta(max_length=TENSORS)]
    outputs: Annotated[list[Output], msgspec.Meta(max_length=TENSORS)] = []
    id: Annotated[str, msgspec.Meta(max_length=ID_CHARS)] = ""
    parameters: Parameters = {}


class InferRequest(Struct, frozen=True):
    """A request that fits the model. `outputs` maps the name of each output to whether it is sent as binary data."""

    id: str
    feeds: dict[str, Array]
    outputs: dict[str, bool]

    @property
    def bytes(self) -> int:
        """Memory of the inputs; of a string only its reference counts."""
        return sum(array.nbytes for array in self.feeds.values())


def read_request(
    body: bytes | bytearray, json_bytes: int | None, inputs: Sequence[TensorPort], outputs: Sequence[TensorPort]
) -> InferRequest:
    """The request in `body`, whose first `json_bytes` are JSON (all when None). Raises ApiError 400 or 413."""
    length = len(body) if json_bytes is None else json_bytes
    if length > len(body):
        raise _bad(f"Inference-Header-Content-Length is {length}, but the body has {len(body)} bytes")
    if length > MAX_JSON_BYTES:
        raise ApiError(
            413,
            f"cannot read the request: {length} bytes of JSON, at most {MAX_JSON_BYTES}; send binary data instead",
            "too_large",
        )
    asked = _decode(memoryview(body)[:length])
    if asked.parameters.get("sequence_id"):
        raise _bad("sequences are not kept here (sequence_id)")
    feeds = _feeds(asked.inputs, memoryview(body)[length:], inputs)
    return InferRequest(asked.id, feeds, _outputs(asked, outputs))


def check_size(total: int) -> None:
    """Raises ApiError 400 for an answer that would be too large."""
    if total > MAX_ANSWER_BYTES:
        raise _bad(f"the answer would have {total} bytes, at most {MAX_ANSWER_BYTES}; ask for fewer outputs or less")


def known_bytes(wanted: InferRequest, ports: Sequence[TensorPort]) -> int:
    """The least size of the wanted outputs, as far as the graph shows it before it runs."""
    asked = [port for port in ports if port.name in wanted.outputs and port.datatype != BYTES]
    known = [port for port in asked if min(port.shape, default=1) >= 0]
    return sum(math.prod(port.shape) * np.dtype(DTYPES[port.datatype]).itemsize for port in known)


def write_answer(
    head: dict[str, Any], wanted: InferRequest, ports: Sequence[TensorPort], answers: Sequence[Array]
) -> list[bytes | memoryview]:
    """The answer: its JSON, then the binary data, if any. `answers` are in the order of `wanted.outputs`.

    Raises ApiError 400 when it would be too large.
    """
    datatypes = {port.name: port.datatype for port in ports}
    check_size(sum(array.nbytes for array in answers))
    entries: list[dict[str, Any]] = []
    binary: list[bytes | memoryview] = []
    for (name, as_binary), array in zip(wanted.outputs.items(), answers, strict=True):
        entry: dict[str, Any] = {"name": name, "datatype": datatypes[name], "shape": list(array.shape)}
        if as_binary:
            data = _to_bytes(array, datatypes[name])
            entry["parameters"] = {"binary_data_size": len(data)}
            binary.append(data)
        else:
            entry["data"] = _to_list(array, datatypes[name])
        entries.append(entry)
    body = {**head, **({"id": wanted.id} if wanted.id else {}), "outputs": entries}
    return [msgspec.json.encode(body), *binary]


def _decode(data: memoryview) -> Infer:
    try:
        return msgspec.json.decode(data, type=Infer)
    except UNREADABLE as e:
        raise _bad(f"its JSON is wrong: {e}") from e


def _feeds(given: Sequence[Input], binary: memoryview, ports: Sequence[TensorPort]) -> dict[str, Array]:
    known = {port.name: port for port in ports}
    feeds: dict[str, Array] = {}
    place = 0
    for entry in given:
        if entry.name not in known:
            raise _bad(f"there is no input {entry.name[:100]!r}; inputs: {_listed(ports)}")
        if entry.name in feeds:
            raise _bad(f"the input {entry.name!r} comes twice")
        port = known[entry.name]
        _check(entry, port)
        size = entry.parameters.get("binary_data_size")
        if size is None:
            feeds[entry.name] = _from_json(entry)
            continue
        if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= len(binary) - place:
            raise _bad(f"binary_data_size of {entry.name!r} is {size!r}; {len(binary) - place} bytes are left")
        if bytes(entry.data):
            raise _bad(f"the input {entry.name!r} has data and binary_data_size: one of them")
        feeds[entry.name] = _from_bytes(entry, binary[place : place + size])
        place += size
    if place != len(binary):
        raise _bad(f"{len(binary) - place} bytes after the JSON belong to no input")
    if missing := [port for port in ports if port.name not in feeds]:
        raise _bad(f"missing inputs: {_listed(missing)}")
    return feeds


def _check(entry: Input, port: TensorPort) -> None:
    """Raises ApiError unless type and shape match the model's."""
    for name in _UNSUPPORTED:
        if name in entry.parameters:
            raise _bad(f"{name} is not supported")
    if entry.datatype != port.datatype:
        raise _bad(f"the input {port.name!r} is {port}, not {entry.datatype[:20]}")
    fits = len(entry.shape) == len(port.shape) and all(
        size == own if own >= 0 else size >= 0 for size, own in zip(entry.shape, port.shape, strict=True)
    )
    if not fits:
        raise _bad(f"the input {port.name!r} is {port}, the shape sent is {entry.shape}")
    if port.datatype == BYTES and math.prod(entry.shape) > MAX_STRINGS:
        raise _bad(f"the input {port.name!r} has {math.prod(entry.shape)} strings, at most {MAX_STRINGS}")


def _from_bytes(entry: Input, data: memoryview) -> Array:
    count = math.prod(entry.shape)
    if entry.datatype == BYTES:
        strings: Array = np.empty(count, dtype=np.object_)
        strings[:] = _strings(entry.name, data, count)
        return _shaped(strings, entry)
    dtype = np.dtype(DTYPES[entry.datatype])
    if len(data) != count * dtype.itemsize:
        needed = count * dtype.itemsize
        raise _bad(f"the input {entry.name!r} of shape {entry.shape} takes {needed} bytes, {len(data)} came")
    if entry.datatype == "BOOL":
        # any other byte would be an invalid bool
        truth: Array = np.frombuffer(data, dtype=np.uint8) != 0
        return _shaped(truth, entry)
    # copied, because ONNX Runtime needs aligned inputs
    array: Array = np.frombuffer(data, dtype=dtype.newbyteorder("<")).astype(dtype)
    return _shaped(array, entry)


def _shaped(array: Array, entry: Input) -> Array:
    """The elements in the shape sent, which may have any size beside a 0."""
    try:
        return array.reshape(entry.shape)
    except (ValueError, OverflowError) as e:
        raise _bad(f"the input {entry.name!r} has the shape {entry.shape}, which no memory holds") from e


def _strings(name: str, data: memoryview, count: int) -> list[str]:
    found: list[str] = []
    place = 0
    while place < len(data) and len(found) < count:
        if place + _LENGTH.size > len(data):
            break
        (length,) = _LENGTH.unpack_from(data, place)
        place += _LENGTH.size
        if length > len(data) - place:
            raise _bad(f"string {len(found)} of {name!r} ends past its binary data")
        found.append(_text(name, bytes(data[place : place + length])))
        place += length
    if len(found) != count or place != len(data):
        raise _bad(f"the binary data of {name!r} does not hold exactly {count} strings")
    return found


def _text(name: str, data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as e:
        raise _bad(f"a string of {name!r} is not UTF-8; ONNX knows text only") from e


def _from_json(entry: Input) -> Array:
    raw = bytes(entry.data)
    if not raw:
        raise _bad(f"the input {entry.name!r} has neither data nor binary_data_size")
    if entry.datatype in ("FP16", BF16):
        raise _bad(f"the input {entry.name!r} is {entry.datatype}, which comes as binary data only")
    element = _JSON_TYPES.get(entry.datatype, int)
    nested: Any = element
    for _ in entry.shape:
        nested = list[nested]
    # flat, or nested by the shape: the protocol allows both
    values, reason = _as(raw, types.GenericAlias(list, element))
    flat = values is not None
    if not flat:
        values, reason = _as(raw, nested)
    if values is None:
        raise _bad(f"the data of {entry.name!r} is wrong: {reason}")
    try:
        with np.errstate(over="ignore"):  # above the largest FP32 it becomes infinity
            array = np.array(values, dtype=DTYPES[entry.datatype])
    except (ValueError, OverflowError, TypeError) as e:
        raise _bad(f"the data of {entry.name!r} is no {entry.datatype}{entry.shape}: {e}") from e
    # numpy accepts rows of texts with different lengths: then each row is one element
    if not flat and list(array.shape) != entry.shape:
        raise _bad(f"the data of {entry.name!r} has the shape {list(array.shape)}, not {entry.shape}")
    if array.size != math.prod(entry.shape):
        raise _bad(
            f"the data of {entry.name!r} has {array.size} elements, its shape {entry.shape} takes another number"
        )
    return _shaped(array, entry)


def _as(raw: bytes, kind: Any) -> tuple[Any, str]:
    try:
        return msgspec.json.decode(raw, type=kind), ""
    except UNREADABLE as e:
        return None, str(e)


def _outputs(asked: Infer, ports: Sequence[TensorPort]) -> dict[str, bool]:
    known = {port.name for port in ports}
    all_binary = asked.parameters.get("binary_data_output") is True
    if not asked.outputs:
        return {port.name: all_binary for port in ports}
    wanted: dict[str, bool] = {}
    for entry in asked.outputs:
        if entry.name not in known:
            raise _bad(f"there is no output {entry.name[:100]!r}; outputs: {_listed(ports)}")
        if entry.name in wanted:
            raise _bad(f"the output {entry.name!r} is asked for twice")
        for name in _UNSUPPORTED:
            if entry.parameters.get(name):
                raise _bad(f"{name} is not supported")
        wanted[entry.name] = entry.parameters.get("binary_data", all_binary) is True
    return wanted


def _to_bytes(array: Array, datatype: str) -> bytes | memoryview:
    """Its own memory where possible: a copy of 100 MB would hold the interpreter for too long."""
    if datatype == BYTES:
        parts = []
        for text in array.ravel():
            data = str(text).encode("utf-8", "replace")
            parts += [_LENGTH.pack(len(data)), data]
        return b"".join(parts)
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).reshape(-1).view(np.uint8).data


def _to_list(array: Array, datatype: str) -> list[Any]:
    """The elements, row-major; values without a JSON number become null."""
    if array.size > MAX_JSON_NUMBERS:
        raise _bad(f"{array.size} elements are too many for JSON, at most {MAX_JSON_NUMBERS}; ask for binary data")
    if datatype == BF16:
        array = (array.astype(np.uint32) << 16).view(np.float32)
    elif datatype == BYTES:
        return [str(text) for text in array.ravel()]
    found: list[Any] = array.ravel().tolist()
    return found


def _listed(ports: Sequence[TensorPort]) -> str:
    return ", ".join(f"{port.name} {port}" for port in ports)


def _bad(text: str) -> ApiError:
    return ApiError(400, f"cannot infer: {text}", "bad_request")
