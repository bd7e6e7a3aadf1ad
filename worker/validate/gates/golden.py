"""Gate 6: the model writes the known text of the golden clips.

There are two sets: the operator's directory and the version's `golden/`. Each is judged separately, so that a version
cannot hide errors on the operator's clips among its own. An operator's clip that cannot be used, or is incomplete or
absent, is a warning, never the version's fault. It fills the context's `clips` with some of the clips, for the latency
gate.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from time import perf_counter
from typing import Final

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from ...audio.converter import SAMPLE_RATE
from ...audio.decode import decode
from ...audio.limits import BadAudio
from ...shared.quantities import count
from ..context import Context, GateAnswer
from ..error_rate import Errors, compare, total
from ..golden_clips import GoldenClips, pairs
from ..model_under_test import BadSubject

MAX_CLIPS: Final = 500
MAX_CLIP_BYTES: Final = 64 << 20
MAX_CLIP_SECONDS: Final = 600.0
MAX_TEXT_BYTES: Final = 64 << 10
SHARE_OF_TIMEOUT: Final = 0.4  # the clips stop there: a large set must not make every version run out of time
OWN: Final = "golden"
_KEPT_CLIPS: Final = 3
_KEPT_SECONDS: Final = 30.0


class ClipErrors(Struct, frozen=True):
    """One clip's errors, with its name."""

    name: str
    errors: Errors


class _Set(Struct):
    heard: list[ClipErrors]
    unusable: list[str]
    skipped: int = 0


def check(context: Context) -> GateAnswer:
    """Passes when the character error rate over each set of clips is at most `max_error_rate`."""
    candidate = context.candidate
    if candidate.kind != "sensevoice":
        return GateAnswer(True, f"not for kind {candidate.kind}")
    deadline = perf_counter() + SHARE_OF_TIMEOUT * candidate.timeout_seconds
    sets = [("golden set", Path(candidate.golden), True)] if candidate.golden else []
    sets.append(("the version's own golden set", context.directory / OWN, False))
    answers = []
    for name, directory, expected in sets:
        try:
            found = _hear_all(context, pairs(directory, expected=expected), deadline)
        except BadSubject as e:
            return GateAnswer(False, f"{name}: {e}")
        if (answer := _judged(name, found, candidate.max_error_rate)) is not None:
            answers.append(answer)
    if not answers:
        return GateAnswer(True, "no golden clips")
    failed = next((answer for answer in answers if not answer.passed), None)
    return failed or GateAnswer(True, "; ".join(a.because for a in answers), any(a.warning for a in answers))


def some_clips(directories: Iterable[Path]) -> list[npt.NDArray[np.float32]]:
    """A few short clips of the sets in `directories`, mono, 16 kHz; those that cannot be used are skipped."""
    found: list[npt.NDArray[np.float32]] = []
    for directory in directories:
        for number, (_, clip, _) in enumerate(pairs(directory).whole):
            if number >= MAX_CLIPS or len(found) >= _KEPT_CLIPS:
                break
            try:
                samples = decode(_read(clip, MAX_CLIP_BYTES), max_seconds=MAX_CLIP_SECONDS)
            except (BadAudio, OSError):
                continue
            if len(samples) <= _KEPT_SECONDS * SAMPLE_RATE:
                found.append(samples)
    return found


def _judged(name: str, found: _Set, most: float) -> GateAnswer | None:
    """The verdict on one set, None when the set is empty."""
    notes = [f"{found.unusable[0]} (and {len(found.unusable) - 1} more)"] if len(found.unusable) > 1 else found.unusable
    if found.skipped:
        notes = [*notes, f"{count(found.skipped, 'clip')} left out: no time"]
    if not found.heard:
        return GateAnswer(True, f"{name}: {'; '.join(notes)}", warning=True) if notes else None
    errors = total(heard.errors for heard in found.heard)
    worst = max(found.heard, key=lambda heard: heard.errors.rate)
    if errors.rate > most:
        worst_clip = f"worst clip {worst.name}, {worst.errors.rate:.2f}"
        return GateAnswer(False, f"{name} error rate {errors.rate:.2f}, at most {most:.2f} ({worst_clip})")
    because = f"{name} error rate {errors.rate:.2f} over {count(len(found.heard), 'clip')}"
    return GateAnswer(True, "; ".join([because, *notes]), warning=bool(notes))


def _hear_all(context: Context, clips: GoldenClips, deadline: float) -> _Set:
    found = _Set([], list(clips.half))
    for number, (name, clip, text) in enumerate(clips.whole):
        if number >= MAX_CLIPS or perf_counter() > deadline:
            found.skipped += 1
            continue
        try:
            samples = decode(_read(clip, MAX_CLIP_BYTES), max_seconds=MAX_CLIP_SECONDS)
            expected = _read(text, MAX_TEXT_BYTES).decode("utf-8-sig")
        except (BadAudio, OSError, UnicodeDecodeError) as e:
            found.unusable.append(f"{name} can't be used: {e}")
            continue
        found.heard.append(ClipErrors(name, compare(context.loaded().transcribe(samples), expected)))
        _keep(context, samples)
    return found


def _read(path: Path, limit: int) -> bytes:
    with path.open("rb") as f:
        data = f.read(limit + 1)
    if len(data) > limit:
        raise OSError(f"over {limit} bytes")
    return data


def _keep(context: Context, samples: npt.NDArray[np.float32]) -> None:
    if len(context.clips) < _KEPT_CLIPS and len(samples) <= _KEPT_SECONDS * SAMPLE_RATE:
        context.clips.append(samples)
