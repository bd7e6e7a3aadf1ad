"""The loaded model in validation, whatever its kind: what the gates after `load` may use of it.

There are two kinds, `speech` (SenseVoice) and `tensors` (any ONNX model). Gates use only this protocol.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from ..ort_session import RunFailed, SessionError

Array = npt.NDArray[Any]

_OUT_OF_MEMORY: Final = ("Failed to allocate memory", "bad_alloc", "bad allocation", "std::length_error")


class BadSubject(ValueError):
    """A model that cannot be loaded or run; the text names the file and the reason."""


class Subject(Protocol):
    """A loaded model with a built-in input. Nothing here changes it: the same input has the same answer."""

    def probe(self) -> list[Array]:
        """All outputs for the built-in input. Raises BadSubject when it cannot be run."""
        ...

    def batch_remark(self) -> tuple[bool, str]:
        """Whether a batch of two answers like two single runs, and a remark, "" for none."""
        ...

    def remark(self) -> str:
        """What is odd about the answer to the built-in input, "" for nothing."""
        ...

    def transcribe(self, samples: npt.NDArray[np.float32]) -> str:
        """The text of a clip, mono 16 kHz. Raises BadSubject when it cannot be run or when the kind has no texts."""
        ...


class OutOfMemory(Exception):
    """Loading or running the model hit the memory limit."""


def explained(error: SessionError | RunFailed) -> Exception:
    """The error to raise for a text of ONNX Runtime: OutOfMemory when that is its meaning, else BadSubject."""
    text = str(error)
    if any(mark in text for mark in _OUT_OF_MEMORY):
        return OutOfMemory(text)
    return BadSubject(text)
