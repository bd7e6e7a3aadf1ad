"""Any ONNX model, tensors in and tensors out, as the engine and the routes use it.

It knows names, types and shapes of its inputs and outputs in the words of the Open Inference Protocol, and runs the
model. It holds nothing of a request. A BF16 array is its bits as uint16, because numpy has no such type; a free
dimension is -1.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
from msgspec import Struct

from .. import ort_session
from ..ort_session import RunFailed, RunTerminated, SessionError

Array = npt.NDArray[Any]

BF16: Final = "BF16"
BYTES: Final = "BYTES"
MAX_MADE_UP_ELEMENTS: Final = 1 << 28
_ONNX_BFLOAT16: Final = 16  # TensorProto.BFLOAT16; the onnx package itself costs every worker memory
_FREE_SIZES: Final = (1, 16, 128)
# ONNX Runtime's name of a type: the protocol's name, and the numpy type for it
_DATATYPES: Final[Mapping[str, tuple[str, Any]]] = {
    "tensor(bool)": ("BOOL", np.bool_),
    "tensor(uint8)": ("UINT8", np.uint8),
    "tensor(uint16)": ("UINT16", np.uint16),
    "tensor(uint32)": ("UINT32", np.uint32),
    "tensor(uint64)": ("UINT64", np.uint64),
    "tensor(int8)": ("INT8", np.int8),
    "tensor(int16)": ("INT16", np.int16),
    "tensor(int32)": ("INT32", np.int32),
    "tensor(int64)": ("INT64", np.int64),
    "tensor(float16)": ("FP16", np.float16),
    "tensor(bfloat16)": (BF16, np.uint16),
    "tensor(float)": ("FP32", np.float32),
    "tensor(double)": ("FP64", np.float64),
    "tensor(string)": (BYTES, np.object_),
}
DTYPES: Final[Mapping[str, Any]] = dict(_DATATYPES.values())


class BadInput(ValueError):
    """Tensors that this model cannot run on, while it runs on others; the text is for the client."""


class TensorPort(Struct, frozen=True):
    """An input or output: its name, its type in the protocol's words, its shape with -1 for a free dimension."""

    name: str
    datatype: str
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.datatype}[{','.join(map(str, self.shape))}]"


class TensorModel:
    """A loaded model."""

    mappings = 1

    def __init__(self, session: Any) -> None:
        """Raises SessionError when it has an input or output that cannot be served."""
        self._session = session
        self.inputs = tuple(_port(entry, "input") for entry in session.get_inputs())
        self.outputs = tuple(_port(entry, "output") for entry in session.get_outputs())
        self._bits = any(port.datatype == BF16 for port in self.outputs)
        self._probe: dict[str, Array] | None = None
        if self._bits and any(port.datatype == BYTES for port in (*self.inputs, *self.outputs)):
            raise SessionError("cannot use the model: it has strings and bfloat16 outputs, which is not served")

    def warm(self) -> None:
        """Runs on generated tensors. Raises SessionError when it answers none of them."""
        trouble = ""
        for name, feeds in made_up(self.inputs):
            try:
                self.run(feeds)
            except RunFailed as e:
                trouble = trouble or f"{name}: {e}"
            else:
                self._probe = feeds
                return
        raise SessionError(f"cannot use the model: {trouble or 'it has no input that can be made up'}")

    def options(self) -> Any:
        """Run options of one request; another thread may set their `terminate`."""
        return ort.RunOptions()

    def infer(self, feeds: Mapping[str, Array], outputs: Sequence[str], options: Any) -> list[Array]:
        """Like `run`, but raises BadInput when the model still answers its warm-up input: then it is not broken."""
        try:
            return self.run(feeds, outputs, options)
        except RunTerminated:
            raise
        except RunFailed as e:
            if self._probe is not None:
                with suppress(RunFailed):
                    self.run(self._probe, outputs, options)
                    raise BadInput(str(e)) from e
            raise

    def run(self, feeds: Mapping[str, Array], outputs: Sequence[str] | None = None, options: Any = None) -> list[Array]:
        """The named outputs, or all. Raises RunTerminated when it was asked to end, RunFailed on any other error."""
        names = [port.name for port in self.outputs] if outputs is None else list(outputs)
        types = {port.name: port.datatype for port in self.inputs}
        given: dict[str, Any] = {
            name: _bits_value(array) if types.get(name) == BF16 else array for name, array in feeds.items()
        }
        if self._bits:
            return self._run_values(given, names, options)
        return ort_session.run(self._session, names, given, options)

    def _run_values(self, given: dict[str, Any], names: list[str], options: Any) -> list[Array]:
        """For bfloat16 outputs, which ONNX Runtime gives to Python only as its own values."""
        try:
            values = {
                name: value if isinstance(value, ort.OrtValue) else ort.OrtValue.ortvalue_from_numpy(value)
                for name, value in given.items()
            }
            return [_array(value) for value in self._session.run_with_ort_values(names, values, options)]
        except ort_session.ORT_ERRORS as e:
            if options is not None and options.terminate:
                raise RunTerminated("cannot finish the run: it was asked to end") from e
            raise RunFailed(f"cannot run the model: {ort_session.brief(e)}") from e


def load(directory: Path, *, model: str, threads: int, providers: Sequence[str], mapped: bool = False) -> TensorModel:
    """The version in `directory`; `mapped` for a compiled form of it. Raises SessionError."""
    return TensorModel(ort_session.open_session(directory / model, threads=threads, providers=providers, mapped=mapped))


def made_up(inputs: Sequence[TensorPort]) -> Iterator[tuple[str, dict[str, Array]]]:
    """Inputs of the declared shapes to try, each with its name: zeros and ones, several sizes for free dimensions.

    The graph does not show which numbers it accepts. Raises SessionError when the inputs would be too large.
    """
    free = any(size < 0 for port in inputs for size in port.shape)
    for size in _FREE_SIZES if free else _FREE_SIZES[:1]:
        for value in (0, 1):
            feeds = {port.name: _filled(port, size, value) for port in inputs}
            yield f"{'ones' if value else 'zeros'}, free sizes {size}", feeds


def _filled(port: TensorPort, size: int, value: int) -> Array:
    shape = [size if length < 0 else length for length in port.shape]
    if math.prod(shape) > MAX_MADE_UP_ELEMENTS:
        raise SessionError(f"input '{port.name}' has {math.prod(shape)} elements, at most {MAX_MADE_UP_ELEMENTS}")
    one: int = 0x3F80 if port.datatype == BF16 else 1
    filler = "" if port.datatype == BYTES else one * value
    return np.full(shape, filler, dtype=DTYPES[port.datatype])


def _port(entry: Any, side: str) -> TensorPort:
    if entry.type not in _DATATYPES:
        raise SessionError(f"{side} '{entry.name}' is {entry.type}, which is not served")
    shape = tuple(size if isinstance(size, int) and size >= 0 else -1 for size in entry.shape)
    return TensorPort(entry.name, _DATATYPES[entry.type][0], shape)


def _bits_value(array: Array) -> ort.OrtValue:
    return ort.OrtValue.ortvalue_from_numpy_with_onnx_type(np.ascontiguousarray(array), _ONNX_BFLOAT16)


def _array(value: Any) -> Array:
    if value.element_type() != _ONNX_BFLOAT16:
        return np.asarray(value.numpy())
    shape = tuple(value.shape())
    data = ctypes.string_at(value.data_ptr(), 2 * math.prod(shape)) if math.prod(shape) else b""
    return np.frombuffer(data, dtype=np.uint16).reshape(shape)
