"""A SenseVoice version as the engine and the routes use it: the recogniser behind plain methods.

It only adapts: `sensevoice` recognises, cuts and joins. For a lone run (see `exclusive_session`) it uses the same
recogniser opened with more threads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import onnxruntime as ort

from ..sensevoice.frontend import SAMPLE_RATE
from ..sensevoice.model import LANGUAGES
from ..sensevoice.pipeline import (
    Piece,
    Recognizer,
    Span,
    join,
)
from .exclusive_session import Lone
from .loader import Place, Samples


class SenseVoice:
    """A loaded recogniser."""

    languages = frozenset(LANGUAGES)

    def __init__(self, recognizer: Recognizer) -> None:
        self._recognizer = recognizer
        self._lone: Lone[Recognizer] | None = None

    def allow_lone(self, threads: int, providers: Sequence[str], report: Callable[[str], None]) -> None:
        """Records that this is a compiled form that was proved to answer the same with this number of threads.

        `report` is called when it cannot be opened with them.
        """
        again = self._recognizer.again

        def open_warm() -> Recognizer:
            opened = again(threads=threads, providers=providers)
            opened.warm()
            return opened

        self._lone = Lone(threads, open_warm, report)

    @property
    def mappings(self) -> int:
        """How many times its weights are mapped."""
        return 2 if self._lone is not None and self._lone.model is not None else 1

    def lone_threads(self) -> int:
        """The number of threads with which `recognize` can be called now."""
        return self._lone.threads() if self._lone is not None else 1

    def warm(self) -> None:
        """One run on a built-in clip."""
        self._recognizer.warm()

    def cut(self, samples: Samples, *, trim: bool = False) -> list[tuple[int, int]]:
        """Pieces of at most 30 s, cut at pauses, as (first sample, sample after the last)."""
        return [(span.start, span.end) for span in self._recognizer.cut(samples, trim=trim)]

    def recognize(self, samples: Samples, threads: int = 1, *, language: str, itn: bool, options: Any) -> Piece:
        """The text of one piece, the same with one thread or more. Raises what the recogniser raises."""
        lone = self._lone.model if self._lone is not None and threads > 1 else None
        return (lone or self._recognizer).recognize(samples, language=language, itn=itn, run_options=options)

    def join(self, pieces: Sequence[tuple[Place, Any]], samples: int) -> dict[str, Any]:
        """The clip's text with its segments in their places."""
        joined = join([(Span(*place), piece) for place, piece in pieces], samples / SAMPLE_RATE)
        return {
            "text": joined.text,
            "segments": joined.segments,
            "language": joined.language,
            "emotion": joined.emotion,
            "events": joined.events,
            "duration": joined.duration,
        }

    def options(self) -> Any:
        """Run options of one request."""
        return ort.RunOptions()


def load(directory: Path, *, model: str, threads: int, providers: Sequence[str], mapped: bool = False) -> SenseVoice:
    """The version in `directory`; `mapped` for a compiled form of it. Raises BadModel, OSError."""
    return SenseVoice(Recognizer.load(directory, model=model, threads=threads, providers=providers, mapped=mapped))
