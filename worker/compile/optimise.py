"""The calls of ONNX Runtime: tidies a graph, opens it, and writes the form that workers map.

`write_mapped` writes the graph after every optimisation, and one data file with all weights, also in the layout of the
kernels. So a session maps the file and copies almost nothing. Such a file is right only for the ONNX Runtime and the
CPU that wrote it. Errors of ONNX Runtime become CannotOptimise.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx
import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as state

from . import weights

CPU = "CPUExecutionProvider"
MODEL, DATA = "model.onnx", "model.weights"
TIDY = "tidy.onnx"

ORT_ERRORS = tuple(
    {e for e in vars(state).values() if isinstance(e, type) and issubclass(e, Exception)}
    | {RuntimeError, ValueError, OSError}
)


class CannotOptimise(RuntimeError):
    """ONNX Runtime could not load or write a graph; the text has its reason."""


def options(threads: int, level: Any) -> ort.SessionOptions:
    """Options of every session here: sequential, no spinning, quiet."""
    made = ort.SessionOptions()
    made.intra_op_num_threads, made.inter_op_num_threads = max(1, threads), 1
    made.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    made.add_session_config_entry("session.intra_op.allow_spinning", "0")
    made.log_severity_level = 3
    made.graph_optimization_level = level
    return made


def open_model(path: Path, threads: int) -> ort.InferenceSession:
    """A session as a worker opens a version as it came: with every optimisation."""
    return _session(path, options(threads, ort.GraphOptimizationLevel.ORT_ENABLE_ALL))


def open_mapped(path: Path, threads: int) -> ort.InferenceSession:
    """A session as a worker opens a compiled form: nothing is optimised again, weights are mapped as they are."""
    return _session(path, options(threads, ort.GraphOptimizationLevel.ORT_DISABLE_ALL))


def tidied(source: Path, directory: Path, threads: int) -> onnx.ModelProto:
    """The model after ONNX Runtime's basic clean-up, which keeps its meaning; its weights are in `directory`.

    Exporters write the same network in different ways; after this the graphs differ less.
    """
    try:
        graph = weights.save(weights.unpack(source, directory), directory)
    except weights.BadModelFile as e:
        raise CannotOptimise(str(e)) from e
    tidy = directory / TIDY
    wanted = options(threads, ort.GraphOptimizationLevel.ORT_ENABLE_BASIC)
    wanted.optimized_model_filepath = str(tidy)
    wanted.add_session_config_entry("session.disable_prepacking", "1")
    _session(graph, wanted)
    model = onnx.load(tidy, load_external_data=False)
    weights.save(model, directory, TIDY)
    return model


def write_mapped(source: Path, directory: Path, threads: int) -> Path:
    """Writes `directory`/model.onnx and model.weights from the graph at `source`; returns the path of the first."""
    wanted = options(threads, ort.GraphOptimizationLevel.ORT_ENABLE_ALL)
    wanted.optimized_model_filepath = str(directory / MODEL)
    wanted.add_session_config_entry("session.optimized_model_external_initializers_file_name", DATA)
    wanted.add_session_config_entry(
        "session.optimized_model_external_initializers_min_size_in_bytes", str(weights.INLINE_BYTES)
    )
    wanted.add_session_config_entry("session.save_external_prepacked_constant_initializers", "1")
    _session(source, wanted)
    return directory / MODEL


def digest_of(path: Path) -> tuple[int, str]:
    """(bytes, SHA-256 hex) of a file."""
    with path.open("rb") as f:
        sha256 = hashlib.file_digest(f, "sha256").hexdigest()
    return path.stat().st_size, sha256


def _session(path: Path, wanted: ort.SessionOptions, providers: Sequence[str] = (CPU,)) -> ort.InferenceSession:
    try:
        return ort.InferenceSession(str(path), wanted, providers=list(providers))
    except ORT_ERRORS as e:
        raise CannotOptimise(f"cannot open {path.name}: {' '.join(str(e).split())[:500]}") from e
