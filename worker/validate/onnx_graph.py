"""What an ONNX file declares, read without loading weights and without running anything.

It parses the protobuf and reads every graph inside (branches, loops, functions). It gives the signature in ONNX
Runtime's words, so that one check works for a file and a session. Pure except for opening the one file.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import onnx
from google.protobuf.message import DecodeError
from msgspec import Struct

from .measure import room_for

MAX_GRAPH_BYTES: Final = (2 << 30) - 1  # protobuf's own limit
_KNOWN_DOMAINS: Final = frozenset(
    (
        "",
        "ai.onnx",
        "ai.onnx.ml",
        "ai.onnx.preview.training",
        "ai.onnx.training",
        "com.microsoft",
        "com.microsoft.nchwc",
    )
)
_FIRST_BYTE: Final = b"\x08"  # the tag of ModelProto.ir_version, which every writer puts first
_STANDARD: Final = ("", "ai.onnx")
_TYPE_NAMES: Final = {
    onnx.TensorProto.FLOAT: "float",
    onnx.TensorProto.DOUBLE: "double",
    onnx.TensorProto.FLOAT16: "float16",
    onnx.TensorProto.BFLOAT16: "bfloat16",
    onnx.TensorProto.STRING: "string",
    onnx.TensorProto.BOOL: "bool",
    **{
        getattr(onnx.TensorProto, f"{sign.upper()}INT{bits}"): f"{sign}int{bits}"
        for sign in ("", "u")
        for bits in (8, 16, 32, 64)
    },
}


class BadGraph(ValueError):
    """A file that is not a usable ONNX model; the text gives the reason."""


class GraphPort(Struct, frozen=True):
    """An input or output, as `onnxruntime.NodeArg` shows it: free dimensions are their names or None."""

    name: str
    type: str
    shape: list[int | str | None]


class Metadata(Struct, frozen=True):
    """As `onnxruntime.ModelMetadata` shows it."""

    custom_metadata_map: Mapping[str, str]


class Signature:
    """An ONNX file in the form of a session: `get_inputs`, `get_outputs`, `get_modelmeta`."""

    def __init__(self, model: Any) -> None:
        weights = {tensor.name for tensor in model.graph.initializer}
        self._inputs = [_port(value) for value in model.graph.input if value.name not in weights]
        self._outputs = [_port(value) for value in model.graph.output]
        self._metadata = Metadata({entry.key: entry.value for entry in model.metadata_props})

    def get_inputs(self) -> list[GraphPort]:
        return self._inputs

    def get_outputs(self) -> list[GraphPort]:
        return self._outputs

    def get_modelmeta(self) -> Metadata:
        return self._metadata


def read_graph(path: Path) -> Any:
    """The `onnx.ModelProto` in a file, without its external weights. Raises BadGraph, MemoryError, OSError."""
    size = path.stat().st_size
    if size == 0:
        raise BadGraph("it is empty")
    if size > MAX_GRAPH_BYTES:
        raise BadGraph(f"it has {size} bytes; a graph has at most {MAX_GRAPH_BYTES}, larger weights go beside it")
    model = onnx.ModelProto()
    with path.open("rb") as f, mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            model.ParseFromString(memoryview(data))
        except DecodeError as e:
            if "alloc failed" in str(e) or not room_for(size):  # the parser reports lack of memory as damage
                raise MemoryError(f"no memory to parse {size} bytes") from e
            cause = "truncated or damaged" if data[:1] == _FIRST_BYTE else "not an ONNX file"
            raise BadGraph(f"it is {cause}, and can't be parsed") from e
    if not model.graph.node or not model.graph.output:
        raise BadGraph("it holds no graph")
    if any(isinstance(text, bytes) for text in _texts(model)):
        raise BadGraph("it holds a name that is not UTF-8")
    return model


def external_weights(model: Any) -> Iterator[Any]:
    """Every tensor whose data is in another file."""
    for tensor in _tensors(model):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            yield tensor


def operators(model: Any) -> set[tuple[str, str]]:
    """(domain, name) of every operator used anywhere in the model that is not a function of its own."""
    own = {(function.domain, function.name) for function in model.functions}
    return {(node.domain, node.op_type) for node in _nodes(model)} - own


def wrong_operators(model: Any) -> str:
    """Why the model's operators cannot be run here, "" when they can."""
    known = onnx.defs.onnx_opset_version()
    for imported in model.opset_import:
        if imported.domain in _STANDARD and imported.version > known:
            return f"it needs ONNX opset {imported.version}, known here up to {known}"
    for domain, name in sorted(operators(model)):
        if domain not in _KNOWN_DOMAINS:
            return f"it uses the custom operator {name} of {domain}, which ONNX Runtime does not have"
        if domain in _STANDARD and not onnx.defs.has(name):
            return f"it uses the operator {name}, which ONNX does not have"
    return ""


def wrong_weights(model: Any, sizes: Mapping[str, int]) -> str:
    """Why external weights cannot be where the model has them, given the version's file sizes by name; "" when they
    can.

    Offsets and lengths as in ONNX's ExternalData: relative file name, bytes from the start, bytes.
    """
    for tensor in external_weights(model):
        entry = {item.key: item.value for item in tensor.external_data}
        location = entry.get("location", "")
        if location.startswith("./"):
            location = location[2:]
        parts = location.split("/")
        if not location or any(part in ("", ".", "..") for part in parts) or "\\" in location:
            return f"its weights {tensor.name} lie outside the version: {entry.get('location', '')!r}"
        if location not in sizes:
            return f"its weights {tensor.name} are in {location}, which is missing"
        try:
            offset, length = int(entry.get("offset", 0)), int(entry.get("length", 0))
        except ValueError:
            return f"its weights {tensor.name} have an offset or length that is no number"
        if offset < 0 or length < 0 or offset + length > sizes[location]:
            return f"its weights {tensor.name} end at byte {offset + length} of {location}, which has {sizes[location]}"
    return ""


def _graphs(model: Any) -> Iterator[Any]:
    """The main graph, every function, and every graph inside one of their nodes."""
    waiting = [model.graph, *model.functions]
    while waiting:
        graph = waiting.pop()
        yield graph
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.HasField("g"):
                    waiting.append(attribute.g)
                waiting.extend(attribute.graphs)


def _texts(model: Any) -> Iterator[Any]:
    """Every text that is read here: protobuf returns text that is not UTF-8 as bytes, without an error."""
    for imported in model.opset_import:
        yield imported.domain
    for function in model.functions:
        yield from (function.domain, function.name)
    for entry in model.metadata_props:
        yield from (entry.key, entry.value)
    for node in _nodes(model):
        yield from (node.domain, node.op_type)
    for value in (*model.graph.input, *model.graph.output):
        yield value.name
        if value.type.HasField("tensor_type"):
            yield from (dimension.dim_param for dimension in value.type.tensor_type.shape.dim)
    for tensor in _tensors(model):
        yield tensor.name
        for entry in tensor.external_data:
            yield from (entry.key, entry.value)


def _nodes(model: Any) -> Iterator[Any]:
    for graph in _graphs(model):
        yield from graph.node


def _tensors(model: Any) -> Iterator[Any]:
    for graph in _graphs(model):
        if isinstance(graph, onnx.GraphProto):
            yield from graph.initializer
            for sparse in graph.sparse_initializer:
                yield from (sparse.values, sparse.indices)
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.HasField("t"):
                    yield attribute.t
                yield from attribute.tensors
                for sparse in (
                    *attribute.sparse_tensors,
                    *([attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else []),
                ):
                    yield from (sparse.values, sparse.indices)


def _port(value: Any) -> GraphPort:
    if not value.type.HasField("tensor_type"):
        return GraphPort(value.name, value.type.WhichOneof("value") or "nothing", [])
    tensor = value.type.tensor_type
    shape: list[int | str | None] = [
        d.dim_value if d.HasField("dim_value") else d.dim_param or None for d in tensor.shape.dim
    ]
    return GraphPort(value.name, f"tensor({_TYPE_NAMES.get(tensor.elem_type, 'unknown')})", shape)
