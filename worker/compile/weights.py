"""Puts a model's weights into a file of their own, and writes the small graph that refers to them.

`unpack` copies the bytes of every large tensor from the model's file to one that ONNX Runtime maps. It never holds the
model in memory: a graph of 240 MB is read as 2 MB. It reads protobuf's wire format only down to model, graph and
initializer. `load` reads a tensor's values back for a rewrite. Invariant: the file of weights is only appended to.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto, numpy_helper

Array = npt.NDArray[Any]
GRAPH, WEIGHTS = "graph.onnx", "graph.weights"
INLINE_BYTES = 1024  # smaller tensors stay in the graph
ALIGNED = 64
_MODEL_GRAPH, _GRAPH_INITIALIZER, _TENSOR_RAW_DATA = 7, 5, 9
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class BadModelFile(ValueError):
    """A file that is not an ONNX model, or one whose weights are not in the place that it names."""


def unpack(source: Path, directory: Path) -> onnx.ModelProto:
    """The graph of `source`; its tensors over INLINE_BYTES are copied to `directory`/WEIGHTS. Raises BadModelFile,
    OSError.
    """
    with (directory / WEIGHTS).open("wb", buffering=0) as out:
        return _opened(source, out)


def read(source: Path) -> onnx.ModelProto:
    """The graph of `source`; tensors over INLINE_BYTES have no values. Raises BadModelFile, OSError."""
    return _opened(source, None)


def _opened(source: Path, out: FileIO | None) -> onnx.ModelProto:
    try:
        with (
            source.open("rb") as f,
            mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) as data,
            memoryview(data) as view,
        ):
            return _unpacked(view, source.parent, out)
    except (DecodeError, ValueError, IndexError) as e:
        raise BadModelFile(f"cannot open {source.name}: {str(e) or 'it is not an ONNX model'}") from e


def _unpacked(data: memoryview, beside: Path, out: FileIO | None) -> onnx.ModelProto:
    rest, graphs = _split(data, 0, len(data), _MODEL_GRAPH)
    if len(graphs) != 1:
        raise ValueError("it holds no graph, or a graph in pieces")
    model = onnx.ModelProto.FromString(rest)
    rest, tensors = _split(data, *graphs[0], _GRAPH_INITIALIZER)
    model.graph.MergeFromString(rest)
    for start, end in tensors:
        rest, raw = _split(data, start, end, _TENSOR_RAW_DATA)
        tensor = model.graph.initializer.add()
        tensor.MergeFromString(rest)
        at, after = raw[-1] if raw else (0, 0)
        if at < after <= at + INLINE_BYTES:
            tensor.raw_data = bytes(data[at:after])
        if out is None:
            continue
        if tensor.data_location == TensorProto.EXTERNAL:
            _copy_external(tensor, beside, out)
        elif after - at > INLINE_BYTES:
            with data[at:after] as value:
                _append(tensor, value, out)
    return model


def save(model: onnx.ModelProto, directory: Path, name: str = GRAPH) -> Path:
    """Writes the graph to `directory`. Tensors that a rewrite made large move from memory to WEIGHTS."""
    with (directory / WEIGHTS).open("r+b", buffering=0) as out:
        for tensor in model.graph.initializer:
            if tensor.data_location != TensorProto.EXTERNAL and len(tensor.raw_data) > INLINE_BYTES:
                _append(tensor, memoryview(tensor.raw_data), out)
    path = directory / name
    path.write_bytes(model.SerializeToString())
    return path


def load(tensor: TensorProto, directory: Path | None) -> Array:
    """A tensor's values, wherever they are. Raises BadModelFile."""
    try:
        return np.asarray(numpy_helper.to_array(tensor, base_dir=str(directory or "")))
    except (onnx.checker.ValidationError, ValueError) as e:
        raise BadModelFile(f"cannot read the weights {tensor.name}: {e}") from e


def size(tensor: TensorProto) -> int:
    """Bytes of a tensor's values; values that are not packed as raw bytes do not count."""
    if tensor.data_location == TensorProto.EXTERNAL:
        return int(next((e.value for e in tensor.external_data if e.key == "length"), "0"))
    return len(tensor.raw_data)


def _append(tensor: TensorProto, value: memoryview, out: FileIO) -> None:
    at = out.seek(0, 2)
    at = out.seek(-(-at // ALIGNED) * ALIGNED)
    written = 0
    while written < len(value):  # one write takes 2 GiB at most
        written += out.write(value[written:])
    length = len(value)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    del tensor.external_data[:]
    for key, text in (("location", WEIGHTS), ("offset", str(at)), ("length", str(length))):
        tensor.external_data.add(key=key, value=text)


def _copy_external(tensor: TensorProto, beside: Path, out: FileIO) -> None:
    entry = {e.key: e.value for e in tensor.external_data}
    path, offset = beside / entry.get("location", ""), int(entry.get("offset", 0))
    with path.open("rb") as f, mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) as data:
        length = int(entry.get("length", len(data) - offset))
        if offset < 0 or length <= 0 or offset + length > len(data):
            raise ValueError(f"the weights {tensor.name} lie outside {path.name}")
        with memoryview(data)[offset : offset + length] as value:
            _append(tensor, value, out)


def _split(data: memoryview, start: int, end: int, wanted: int) -> tuple[bytes, list[tuple[int, int]]]:
    """(all other fields as they are, where the contents of the fields with that number are)."""
    rest, found = bytearray(), []
    for number, kind, begin, at, after in _fields(data, start, end):
        if number == wanted and kind == _BYTES:
            found.append((at, after))
        else:
            rest += data[begin:after]
    return bytes(rest), found


def _fields(data: memoryview, at: int, end: int) -> Iterator[tuple[int, int, int, int, int]]:
    """(number, wire type, where the field begins, where its contents begin, where it ends) of each field."""
    while at < end:
        begin = at
        tag, at = _varint(data, at)
        kind, length = tag & 7, 0
        if kind == _VARINT:
            _, after = _varint(data, at)
            length = after - at
        elif kind == _BYTES:
            length, at = _varint(data, at)
        elif kind in (_FIXED64, _FIXED32):
            length = 8 if kind == _FIXED64 else 4
        else:
            raise ValueError("it is damaged, or not an ONNX model")
        if at + length > end:
            raise ValueError("it is truncated")
        yield tag >> 3, kind, begin, at, at + length
        at += length


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while shift < 70:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
        shift += 7
    raise ValueError("it is damaged, or not an ONNX model")
