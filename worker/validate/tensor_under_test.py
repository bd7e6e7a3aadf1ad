"""Any ONNX model as a model under test: it runs on zeros and on ones of its declared shapes.

The graph does not show which numbers it accepts. So several sizes are tried for free dimensions, and a graph that
answers any of them counts as working.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..inference import tensor_model
from ..inference.tensor_model import TensorModel, made_up
from ..ort_session import RunFailed, SessionError
from .model_under_test import Array, BadSubject, explained
from .onnx_graph import Signature


class Tensors:
    """One loaded version of kind `tensor`."""

    def __init__(self, model: TensorModel, feeds: dict[str, Array], remark: str) -> None:
        self._model = model
        self.working_feeds = feeds
        self._remark = remark

    @classmethod
    def load(
        cls, directory: Path, model: str, threads: int, providers: Sequence[str], *, mapped: bool = False
    ) -> Tensors:
        """The model in `directory`, with an input that it answers. Raises BadSubject, OutOfMemory."""
        try:
            loaded = tensor_model.load(directory, model=model, threads=threads, providers=providers, mapped=mapped)
            return cls(loaded, *_working_feeds(loaded))
        except SessionError as e:
            raise explained(e) from e

    def probe(self) -> list[Array]:
        """All outputs for the built-in input. Raises BadSubject, OutOfMemory."""
        return _answers(self._model, self.working_feeds)

    def batch_remark(self) -> tuple[bool, str]:
        """Nothing: the graph does not show which dimension is the batch, if any."""
        return True, ""

    def remark(self) -> str:
        """Which inputs were refused or gave numbers that are not finite."""
        return self._remark

    def transcribe(self, samples: npt.NDArray[np.float32]) -> str:
        """Raises BadSubject: a tensor model gives no text."""
        raise BadSubject("a model of kind tensor has no texts")


def probe_feeds(
    directory: Path,
    model: str,
    signature: Signature,
    clips: Sequence[npt.NDArray[np.float32]],
    threads: int,
    providers: Sequence[str],
) -> list[dict[str, Array]]:
    """The one input that the graph answers; to find it, the model is loaded and run. Raises BadSubject, OutOfMemory."""
    return [Tensors.load(directory, model, threads, providers).working_feeds]


def not_finite(outputs: Sequence[Array]) -> tuple[int, int]:
    """How many numbers are NaN or infinite, and how many there are, over the floating-point outputs."""
    floats = [output for output in outputs if np.issubdtype(output.dtype, np.floating)]
    return sum(int(np.count_nonzero(~np.isfinite(o))) for o in floats), sum(o.size for o in floats)


def _working_feeds(model: TensorModel) -> tuple[dict[str, Array], str]:
    """An input with finite answers, else one with any answer; a remark on inputs that failed before it."""
    trouble: list[str] = []
    answered: dict[str, Array] | None = None
    for name, feeds in made_up(model.inputs):
        try:
            bad, total = not_finite(_answers(model, feeds))
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


def _answers(model: TensorModel, feeds: dict[str, Array]) -> list[Array]:
    try:
        return model.run(feeds)
    except RunFailed as e:
        raise explained(e) from e
