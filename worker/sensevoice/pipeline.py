"""A loaded SenseVoice version that turns samples into text. After loading, every call is safe from many threads.

It holds a session and tables that never change, and keeps nothing of a clip. The same samples always give the same
answer. One run is at most a minute of audio, because attention needs memory with the square of the length.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from .. import ort_session
from . import frontend, segments
from .decode import (
    TAG_FRAMES,
    BadOutput,
    decode,
    greedy,
)
from .frontend import SAMPLE_RATE, Floats
from .model import (
    LANGUAGES,
    BadSenseVoiceFiles,
    Description,
    describe,
    find,
)
from .segments import Span
from .transcript import (
    NO_EMOTION,
    NO_EVENT,
    NO_SPEECH,
    Piece,
    Transcript,
    join,
)

__all__ = ["BadSenseVoiceFiles", "BadOutput", "Piece", "Recognizer", "Span", "Transcript", "check_language", "join"]

Ids = npt.NDArray[np.int64]

MAX_RUN_SECONDS: Final = 60.0
_WARM_SECONDS: Final = 1  # it touches every weight; a longer clip makes the first answer no faster and a swap slower


def check_language(language: str) -> str:
    """The language as the model knows it ("" is auto). Raises ValueError with the list of languages."""
    name = language.strip().lower() or "auto"
    if name not in LANGUAGES:
        raise ValueError(f"cannot transcribe in {language[:40]!r}: the language is one of {', '.join(LANGUAGES)}")
    return name


def features_of(description: Description, samples: Floats) -> Floats:
    """The input of a model for these samples, float32 [frames, 560]."""
    stacked = frontend.stack(frontend.fbank(samples))
    return frontend.apply_cmvn(stacked, description.shift, description.scale)


def feeds_of(
    description: Description, features: Floats, *, language: str = "auto", itn: bool = False
) -> dict[str, npt.NDArray[Any]]:
    """A graph's inputs for one clip's features, by name: a batch of one, lengths and ids int32."""
    norm = description.with_itn if itn else description.without_itn
    values = (len(features), description.languages[language], norm)
    scalars = [np.array([value], dtype=np.int32) for value in values]
    return dict(zip(description.inputs, (features[None], *scalars), strict=True))


class Recognizer:
    """One version, loaded."""

    def __init__(self, session: ort.InferenceSession, description: Description) -> None:
        self._session = session
        self.description = description

    @classmethod
    def load(
        cls,
        directory: Path,
        *,
        model: str = "",
        threads: int = 1,
        providers: Sequence[str] = (ort_session.CPU,),
        mapped: bool = False,
    ) -> Recognizer:
        """The version in `directory`; `model` names the ONNX file when it is not the usual choice.

        `mapped`: that file is a compiled form (see ort_session.open_session). Raises BadSenseVoiceFiles when a file is
        missing, unreadable, foreign, or does not match the others.
        """
        files = find(directory, model)
        try:
            session = ort_session.open_session(files.model, threads=threads, providers=providers, mapped=mapped)
        except ort_session.SessionError as e:
            raise BadSenseVoiceFiles(str(e)) from e
        return cls(session, describe(session, files))

    def again(self, *, threads: int, providers: Sequence[str]) -> Recognizer:
        """The same compiled form, opened once more for runs that have the machine alone. Raises BadSenseVoiceFiles."""
        files = self.description.files
        try:
            session = ort_session.open_session(
                files.model, threads=threads, providers=providers, mapped=True, lone=True
            )
        except ort_session.SessionError as e:
            raise BadSenseVoiceFiles(str(e)) from e
        return Recognizer(session, self.description)

    def warm(self) -> None:
        """One run on a fixed sound, so that the first client does not wait for first-time allocations.

        Raises BadSenseVoiceFiles when the model cannot be run or answers nonsense.
        """
        noise = np.random.default_rng(0).normal(0.0, 0.05, _WARM_SECONDS * SAMPLE_RATE).astype(np.float32)
        try:
            self.recognize(noise)
        except (ort_session.RunFailed, BadOutput) as e:
            raise BadSenseVoiceFiles(f"cannot use {self.description.files.model.name}: {e}") from e

    def cut(self, samples: Floats, *, trim: bool = False) -> list[Span]:
        """The pieces of a clip, each at most 30 s, for `recognize`; with `trim` without silences of two seconds."""
        return segments.cut(samples, trim=trim)

    def recognize(
        self, samples: Floats, *, language: str = "auto", itn: bool = False, run_options: ort.RunOptions | None = None
    ) -> Piece:
        """The text of one piece; an empty piece for less than 25 ms.

        Raises ValueError for an unknown language or more than a minute, BadOutput when the model answers nonsense,
        RunFailed or RunTerminated when the run did not finish.
        """
        name = check_language(language)
        if len(samples) > MAX_RUN_SECONDS * SAMPLE_RATE:
            seconds = len(samples) / SAMPLE_RATE
            raise ValueError(f"cannot recognize {seconds:.1f} s in one piece: at most {MAX_RUN_SECONDS:.0f} s")
        features = self.features(samples)
        if len(features) == 0:
            return Piece()
        ids = self.best_ids(features, language=name, itn=itn, run_options=run_options)
        decoded = decode(ids, self.description.vocabulary, self.description.blank)
        return Piece(
            text=decoded.text,
            language=decoded.language or NO_SPEECH,
            emotion=decoded.emotion or NO_EMOTION,
            event=decoded.event or NO_EVENT,
            tokens=decoded.tokens,
            times=decoded.times,
        )

    def transcribe(
        self,
        samples: Floats,
        *,
        language: str = "auto",
        itn: bool = False,
        trim: bool = False,
        run_options: ort.RunOptions | None = None,
    ) -> Transcript:
        """A whole clip: cut (`trim` as there), recognized piece by piece, joined. Raises what `recognize` raises."""
        pieces = [
            (
                span,
                self.recognize(samples[span.start : span.end], language=language, itn=itn, run_options=run_options),
            )
            for span in self.cut(samples, trim=trim)
        ]
        return join(pieces, len(samples) / SAMPLE_RATE)

    def features(self, samples: Floats) -> Floats:
        """The input of the model for these samples, float32 [frames, 560]."""
        return features_of(self.description, samples)

    def feeds(self, features: Floats, *, language: str = "auto", itn: bool = False) -> dict[str, npt.NDArray[Any]]:
        """The graph's inputs for one clip's features, by name: a batch of one, lengths and ids int32."""
        return feeds_of(self.description, features, language=language, itn=itn)

    def best_ids(
        self,
        features: Floats,
        *,
        language: str = "auto",
        itn: bool = False,
        run_options: ort.RunOptions | None = None,
    ) -> Ids:
        """The best id of each frame, tag frames first: int64 [frames + 4]."""
        known = self.description
        names = [known.answer_output, *([known.length_output] if known.length_output else [])]
        answers = ort_session.run(self._session, names, self.feeds(features, language=language, itn=itn), run_options)
        length = int(answers[1][0]) if known.length_output else len(features) + TAG_FRAMES
        answer = answers[0][0][:length]
        if known.answers_ids:
            ids: Ids = answer.astype(np.int64, copy=False)
            return ids
        if answer.shape[-1] != known.vocabulary_size:
            raise BadOutput(
                f"cannot decode the model's answer: {answer.shape[-1]} logits for {known.vocabulary_size} tokens"
            )
        return greedy(answer)
