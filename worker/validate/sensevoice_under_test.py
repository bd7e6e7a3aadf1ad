"""SenseVoice as a model under test: the workers' own recogniser on the built-in clip."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ..ort_session import (
    RunFailed,
    SessionError,
    open_session,
    run,
)
from ..sensevoice.decode import (
    TAG_FRAMES,
    BadOutput,
    decode,
    greedy,
)
from ..sensevoice.model import BadSenseVoiceFiles, describe, find
from ..sensevoice.pipeline import Recognizer, features_of, feeds_of
from ..sensevoice.segments import cut
from .clip import speech_like_clip
from .model_under_test import Array, BadSubject, explained
from .onnx_graph import Signature

BATCH_TOLERANCE: Final = 2e-3
_SHORTER: Final = 0.6
PROBE_LANGUAGES: Final = ("auto", "zh", "en")


class SenseVoiceUnderTest:
    """One loaded version of kind `sensevoice`."""

    def __init__(self, recognizer: Recognizer, session: Any) -> None:
        self._recognizer = recognizer
        self._session = session
        self._features = recognizer.features(speech_like_clip())

    @classmethod
    def load(
        cls, directory: Path, model: str, threads: int, providers: Sequence[str], *, mapped: bool = False
    ) -> SenseVoiceUnderTest:
        """The version in `directory`, opened as workers open it. Raises BadSubject, OutOfMemory."""
        try:
            files = find(directory, model)
            session = open_session(files.model, threads=threads, providers=providers, mapped=mapped)
            return cls(Recognizer(session, describe(session, files)), session)
        except SessionError as e:
            raise explained(e) from e
        except BadSenseVoiceFiles as e:
            raise BadSubject(str(e)) from e

    def probe(self) -> list[Array]:
        """Logits or ids for the built-in clip, [1, frames + 4, …], and their lengths where the graph gives them."""
        answers = self._run(self._recognizer.feeds(self._features))
        known = self._recognizer.description
        shape = answers[0].shape
        if len(shape) != (2 if known.answers_ids else 3) or shape[0] != 1:
            raise BadSubject(f"cannot use {known.files.model.name}: it answers one clip with shape {list(shape)}")
        if not known.answers_ids and shape[-1] != known.vocabulary_size:
            raise BadSubject(
                f"cannot use {known.files.tokens.name}: it has {known.vocabulary_size} tokens, "
                f"but {known.files.model.name} answers logits of width {shape[-1]}"
            )
        return answers

    def batch_remark(self) -> tuple[bool, str]:
        """Two clips of different lengths in one run, the shorter padded with zeros, against one run each."""
        known = self._recognizer.description
        feeds = [self._recognizer.feeds(part) for part in (self._features, self._shorter())]
        try:
            together = self._run(_batched(feeds, known.inputs))
        except BadSubject:
            return True, "takes one clip a run"
        if len(together[0]) != len(feeds):
            return False, f"a batch of {len(feeds)} gives {len(together[0])} answers"
        worst = 0.0
        for row, feed in enumerate(feeds):
            alone = self._run(feed)[0][0].astype(np.float64)
            same = together[0][row, : len(alone)].astype(np.float64)
            if alone.shape != same.shape:
                return False, f"a batch answers {same.shape}, a single run {alone.shape}"
            worst = max(worst, float(np.abs(alone - same).max(initial=0.0)))
        scale = max(1.0, float(np.abs(together[0]).max(initial=0.0)) / 10)
        if worst <= BATCH_TOLERANCE * scale:
            return True, ""
        return False, f"in a batch of two the logits differ by {worst:.2g} from single runs"

    def remark(self) -> str:
        """An empty text or no language tag: odd, but no fault, since the clip has no meaning."""
        known = self._recognizer.description
        answer = self.probe()[0][0]
        try:
            ids = answer.astype(np.int64) if known.answers_ids else greedy(answer)
            decoded = decode(ids[: len(self._features) + TAG_FRAMES], known.vocabulary, known.blank)
        except BadOutput as e:
            raise BadSubject(str(e)) from e
        odd = [] if decoded.text else ["no text"]
        return " and ".join(odd if decoded.language else [*odd, "no language tag"])

    def transcribe(self, samples: npt.NDArray[np.float32]) -> str:
        """The text that a worker would answer. Raises BadSubject, OutOfMemory."""
        try:
            return self._recognizer.transcribe(samples).text
        except RunFailed as e:
            raise explained(e) from e
        except BadOutput as e:
            raise BadSubject(str(e)) from e

    def _run(self, feeds: dict[str, Array]) -> list[Array]:
        known = self._recognizer.description
        names = [known.answer_output, *([known.length_output] if known.length_output else [])]
        try:
            return run(self._session, names, feeds)
        except RunFailed as e:
            raise explained(e) from e

    def _shorter(self) -> npt.NDArray[np.float32]:
        return self._features[: max(1, int(len(self._features) * _SHORTER))]


def probe_feeds(
    directory: Path,
    model: str,
    signature: Signature,
    clips: Sequence[npt.NDArray[np.float32]],
    threads: int,
    providers: Sequence[str],
) -> list[dict[str, Array]]:
    """The graph's inputs for the built-in clip with several prompts, and for each piece of `clips`.

    Nothing is loaded or run. Raises BadSubject.
    """
    try:
        known = describe(signature, find(directory, model))
    except BadSenseVoiceFiles as e:
        raise BadSubject(str(e)) from e
    sound = features_of(known, speech_like_clip())
    feeds = [feeds_of(known, sound, language=name, itn=itn) for name in PROBE_LANGUAGES for itn in (False, True)]
    pieces = [features_of(known, clip[span.start : span.end]) for clip in clips for span in cut(clip)]
    return feeds + [feeds_of(known, features) for features in pieces if len(features)]


def _batched(feeds: Sequence[dict[str, Array]], inputs: tuple[str, ...]) -> dict[str, Array]:
    """One batch of several single feeds: features padded with zeros (after normalisation) to the longest."""
    features, *scalars = inputs
    longest = max(feed[features].shape[1] for feed in feeds)
    padded = [np.pad(feed[features], ((0, 0), (0, longest - feed[features].shape[1]), (0, 0))) for feed in feeds]
    batch: dict[str, Array] = {features: np.concatenate(padded)}
    batch.update({name: np.concatenate([feed[name] for feed in feeds]) for name in scalars})
    return batch
