"""Opens and runs ONNX Runtime sessions as a server needs them: few threads, little spinning, one kind of error.

It decides nothing about models. ONNX Runtime raises exceptions without a common base class. Here they become
`SessionError` (cannot be opened) or `RunFailed` (cannot be run), each with the cause in the text.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state

CPU: Final = "CPUExecutionProvider"

# ONNX Runtime's exceptions share no base class of their own; its Python layer adds the built-in ones
ORT_ERRORS: Final[tuple[type[Exception], ...]] = (
    *(
        error
        for error in vars(onnxruntime_pybind11_state).values()
        if inspect.isclass(error) and issubclass(error, Exception)
    ),
    RuntimeError,
    ValueError,
    TypeError,
    OSError,
)
_ERROR_TEXT_LIMIT: Final = 500
# A 5 s clip on two idle cores, against one thread: 0.72 of the time without spinning, 0.59 with this, 0.58 with endless
# spinning; beside two busy loops 1.1, 1.2 and 2.0.
LONE_SPIN_MICROSECONDS: Final = 30


class SessionError(ValueError):
    """A file from which ONNX Runtime cannot make a session."""


class RunFailed(RuntimeError):
    """A run without an answer."""


class RunTerminated(RunFailed):
    """A run that was ended through its RunOptions."""


def missing_providers(providers: Sequence[str]) -> tuple[str, ...]:
    """Those of `providers` that this ONNX Runtime does not have; `open_session` skips them."""
    available = set(ort.get_available_providers())
    return tuple(name for name in providers if name not in available)


def session_options(threads: int, *, lone: bool = False) -> Any:
    """Options of every session: `threads` for one operator (at least 1), operators one after another, no busy waiting.

    Spinning threads of several workers on the same cores take time from each other. A session that has the cores alone
    (`lone`) may spin, for LONE_SPIN_MICROSECONDS: between two operators, going to sleep takes longer. The arena stays
    on: without it single runs peaked at several times the memory.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = max(1, threads)
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if lone else "0")
    if lone:
        options.add_session_config_entry("session.intra_op.spin_duration_us", str(LONE_SPIN_MICROSECONDS))
        options.add_session_config_entry("session.force_spinning_stop", "1")  # after a run
    options.enable_cpu_mem_arena = True
    options.log_severity_level = 3
    return options


def open_session(
    path: Path, *, threads: int, providers: Sequence[str] = (CPU,), mapped: bool = False, lone: bool = False
) -> ort.InferenceSession:
    """A session on `path` with those of `providers` that exist, in order, and the CPU last.

    `mapped`: the file is a compiled form, optimised when it was made; its weights are mapped as they are. `lone`: it
    will run only while nothing else does. Raises SessionError when the file is missing, torn, not an ONNX model, or not
    runnable here.
    """
    missing = missing_providers(providers)
    wanted = [name for name in dict.fromkeys((*providers, CPU)) if name not in missing]
    if hasattr(ort, "disable_telemetry_events"):
        ort.disable_telemetry_events()
    if not path.is_file():
        raise SessionError(f"cannot open {path.name}: no such file")
    try:
        options = session_options(threads, lone=lone)
        if mapped:
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        return ort.InferenceSession(str(path), sess_options=options, providers=wanted)
    except ORT_ERRORS as e:
        raise SessionError(f"cannot open {path.name}: {brief(e, path.parent)}") from e


def run(
    session: ort.InferenceSession,
    outputs: Sequence[str],
    feeds: Mapping[str, npt.NDArray[Any]],
    run_options: ort.RunOptions | None = None,
) -> list[npt.NDArray[Any]]:
    """The named outputs for these inputs; may be called from several threads at once.

    Setting `run_options.terminate` from another thread ends the run at the next operator. Raises RunTerminated then,
    RunFailed on any other error.
    """
    try:
        answers = session.run(list(outputs), dict(feeds), run_options)
    except ORT_ERRORS as e:
        if run_options is not None and run_options.terminate:
            raise RunTerminated("cannot finish the run: it was asked to end") from e
        raise RunFailed(f"cannot run the model: {brief(e)}") from e
    return [np.asarray(answer) for answer in answers]


def brief(error: Exception, directory: Path | None = None) -> str:
    """The text of ONNX Runtime in one line of bounded length, without its prefix and the file's `directory`."""
    text = " ".join(str(error).split())
    if text.startswith("[ONNXRuntimeError]"):
        text = text.split(" : ", 3)[-1]
    if directory is not None:
        text = text.replace(f"{directory}/", "")
    return text if len(text) <= _ERROR_TEXT_LIMIT else text[:_ERROR_TEXT_LIMIT] + "…"
