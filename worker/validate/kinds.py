"""The kinds of models: which files each needs, which signature, and how it is loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from ..sensevoice.model import BadSenseVoiceFiles, describe, find
from . import sensevoice_under_test, tensor_under_test
from .model_under_test import Array, BadSubject, Subject
from .onnx_graph import Signature
from .sensevoice_under_test import SenseVoiceUnderTest
from .tensor_under_test import Tensors

TENSOR_MODEL: Final = "model.onnx"


class ProbeFeeds(Protocol):
    """Inputs on which two forms of a model are compared, each by the names of the graph's inputs.

    They are the built-in input and those made from `clips` (f32, mono, 16 kHz). Raises BadSubject, OutOfMemory.
    """

    def __call__(
        self,
        directory: Path,
        model: str,
        signature: Signature,
        clips: Sequence[npt.NDArray[np.float32]],
        threads: int,
        providers: Sequence[str],
    ) -> list[dict[str, Array]]: ...


class Load(Protocol):
    """Opens a model as workers do; `mapped` for a compiled form. Raises BadSubject, OutOfMemory."""

    def __call__(
        self, directory: Path, model: str, threads: int, providers: Sequence[str], *, mapped: bool = False
    ) -> Subject: ...


class Kind(Struct, frozen=True):
    """`model_file` finds the ONNX file in a directory and `signature` describes the graph; both raise BadSubject.

    `load` gets directory, model file, threads and providers.
    """

    model_file: Callable[[Path], str]
    signature: Callable[[Path, str, Signature], str]
    load: Load
    probe_feeds: ProbeFeeds


def _speech_file(directory: Path) -> str:
    try:
        return find(directory).model.name
    except BadSenseVoiceFiles as e:
        raise BadSubject(str(e)) from e


def _speech_signature(directory: Path, model: str, signature: Signature) -> str:
    try:
        known = describe(signature, find(directory, model))
    except BadSenseVoiceFiles as e:
        raise BadSubject(str(e)) from e
    return f"{known.flavour} export, {known.vocabulary_size} tokens"


def _tensor_file(directory: Path) -> str:
    if not (directory / TENSOR_MODEL).is_file():
        raise BadSubject(f"cannot find {TENSOR_MODEL}: no such file in the version")
    return TENSOR_MODEL


def _tensor_signature(directory: Path, model: str, signature: Signature) -> str:
    ports = (*signature.get_inputs(), *signature.get_outputs())
    for port in ports:
        if not port.type.startswith("tensor("):
            raise BadSubject(f"cannot use {model}: '{port.name}' is a {port.type}, not a tensor")
    names = (", ".join(port.name for port in side) for side in (signature.get_inputs(), signature.get_outputs()))
    return " → ".join(names)


KINDS: Final[Mapping[str, Kind]] = {
    "sensevoice": Kind(_speech_file, _speech_signature, SenseVoiceUnderTest.load, sensevoice_under_test.probe_feeds),
    "tensor": Kind(_tensor_file, _tensor_signature, Tensors.load, tensor_under_test.probe_feeds),
}
