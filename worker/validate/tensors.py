"""Any ONNX model as a subject: run on zeros and on ones of its declared shapes.

What numbers a graph can take is not written in it, so several sizes are tried for free dimensions, and a graph that
answers any of them is taken to work.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ..session import RunFailed, SessionError, open_session, run
from .subject import Array, BadSubject, explained

_FREE_SIZES: Final = (1, 16, 128)
_MAX_ELEMENTS: Final = 1 << 28
_TYPES: Final = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(int8)": np.int8,
    "tensor(int16)": np.int16,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(uint8)": np.uint8,
    "tensor(uint16)": np.uint16,
    "tensor(uint32)": np.uint32,
    "tensor(uint64)": np.uint64,
    "tensor(bool)": np.bool_,
    "tensor(string)": np.object_,
}


class Tensors:
    """One loaded version of kind `tensor`."""

    def __init__(self, session: Any, feeds: dict[str, Array], remark: str) -> None:
        self._session = session
        self._feeds = feeds
        self._remark = remark

    @classmethod
    def load(
        cls, directory: Path, model: str, threads: int, providers: Sequence[str], *, mapped: bool = False
    ) -> Tensors:
        """The model in `directory`, with an input it answers. Raises BadSubject, OutOfMemory."""
        try:
            session = open_session(directory / model, threads=threads, providers=providers, mapped=mapped)
        except SessionError as e:
            raise explained(e) from e
        return cls(session, *_working_feeds(session))

    def probe(self) -> list[Array]:
        """All outputs for the built-in input. Raises BadSubject, OutOfMemory."""
        return _answers(self._session, self._feeds)

    def batch_remark(self) -> tuple[bool, str]:
        """Nothing: which dimension is the batch, if any, is not written in a graph."""
        return True, ""

    def remark(self) -> str:
        """Which inputs were refused or gave numbers that are not finite."""
        return self._remark

    def feeds(self, clips: Sequence[npt.NDArray[np.float32]]) -> list[dict[str, Array]]:
        """The one input that the graph was found to answer."""
        return [self._feeds]

    def hear(self, samples: npt.NDArray[np.float32]) -> str:
        """Raises BadSubject: tensors say nothing."""
        raise BadSubject("a model of kind tensor has no texts")


def not_finite(outputs: Sequence[Array]) -> tuple[int, int]:
    """How many numbers are NaN or infinite, and how many there are, over the floating-point outputs."""
    floats = [output for output in outputs if np.issubdtype(output.dtype, np.floating)]
    return sum(int(np.count_nonzero(~np.isfinite(o))) for o in floats), sum(o.size for o in floats)


def _working_feeds(session: Any) -> tuple[dict[str, Array], str]:
    """An input with finite answers, else one with any answer; a remark on what did not work before it."""
    trouble: list[str] = []
    answered: dict[str, Array] | None = None
    for name, feeds in _candidates(session):
        try:
            bad, total = not_finite(_answers(session, feeds))
        except BadSubject as e:
            trouble.append(f"{name}: {e}")
            continue
        if not bad:
            return feeds, "; ".join(trouble[:1])
        trouble.append(f"{name}: {bad} of {total} numbers are not finite")
        answered = feeds if answered is None else answered
    if answered is None:
        raise BadSubject(trouble[0] if trouble else "it has no input that can be made up")
    return answered, "; ".join(trouble[:1])


def _candidates(session: Any) -> Iterator[tuple[str, dict[str, Array]]]:
    inputs = session.get_inputs()
    sizes = _FREE_SIZES if any(not isinstance(d, int) for entry in inputs for d in entry.shape) else _FREE_SIZES[:1]
    for size in sizes:
        for value in (0, 1):
            yield (
                f"{'ones' if value else 'zeros'}, free sizes {size}",
                {e.name: _filled(e, size, value) for e in inputs},
            )


def _filled(entry: Any, size: int, value: int) -> Array:
    if entry.type not in _TYPES:
        raise BadSubject(f"input '{entry.name}' is {entry.type}, which is not served")
    shape = [d if isinstance(d, int) and d >= 0 else size for d in entry.shape]
    if math.prod(shape) > _MAX_ELEMENTS:
        raise BadSubject(f"input '{entry.name}' has {math.prod(shape)} elements, at most {_MAX_ELEMENTS}")
    filler = "" if entry.type == "tensor(string)" else value
    return np.full(shape, filler, dtype=_TYPES[entry.type])


def _answers(session: Any, feeds: dict[str, Array]) -> list[Array]:
    try:
        return run(session, [output.name for output in session.get_outputs()], feeds)
    except RunFailed as e:
        raise explained(e) from e
