"""The input and the answers of gates.

A gate reads the candidate and what earlier gates found, adds its own result and returns a GateAnswer. Invariant: from
the moment the layout gate has made the private copy, files are read only below `directory`, which holds it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from msgspec import Struct, field

from ..child_protocol import Candidate
from ..shared.artifact import ArtifactFile
from .model_under_test import Subject

MAX_BECAUSE_CHARACTERS: Final = 600


class GateAnswer(Struct, frozen=True):
    """A gate's answer: one sentence, also when it passes. A warning passes and is shown."""

    passed: bool
    because: str
    warning: bool = False


class NoVerdict(Exception):
    """The version cannot be judged now: it was changed meanwhile, or the fault is not its own. Judge it again later."""


class Hindered(NoVerdict):
    """The machine prevents a verdict: no memory, no disk. Nothing is known about the version."""


class Context(Struct):
    """One validation under way. The gates fill it.

    The layout gate fills `files` and `digest`, the integrity gate `sequence` (of its signature; 0: none), the signature
    gate `operators`. The load gate fills `subject`,
    `baseline_bytes` (resident before it), `load_bytes` (taken by loading and one run) and `load_seconds` (CPU time of
    loading). The golden gate fills `clips`. A gate that fails for what the rest of a copy may still bring sets
    `incomplete`.
    """

    candidate: Candidate
    directory: Path
    files: dict[str, ArtifactFile] = field(default_factory=dict)
    digest: str = ""
    model: str = ""
    sequence: int = 0
    operators: frozenset[str] = frozenset()
    subject: Subject | None = None
    baseline_bytes: int = 0
    load_bytes: int = 0
    load_seconds: float = 0.0
    clips: list[npt.NDArray[np.float32]] = field(default_factory=list)
    incomplete: bool = False

    @property
    def bytes(self) -> int:
        """Size of the version as it came: the sum over its files."""
        return sum(file.bytes for file in self.files.values())

    def fails(self, because: str, *, incomplete: bool = False) -> GateAnswer:
        """The answer that rejects."""
        self.incomplete = incomplete
        return GateAnswer(False, because)

    def loaded(self) -> Subject:
        """The loaded model. Raises RuntimeError when the load gate has not run."""
        if self.subject is None:
            raise RuntimeError("the load gate has not run")
        return self.subject


def printable(text: str, limit: int = MAX_BECAUSE_CHARACTERS) -> str:
    """One line that is safe on a terminal: names and library texts come from the maker of the version."""
    line = " ".join(text.split())
    safe = "".join(c if c.isprintable() else c.encode("unicode_escape", "replace").decode() for c in line)
    return safe if len(safe) <= limit else safe[: limit - 1] + "…"
