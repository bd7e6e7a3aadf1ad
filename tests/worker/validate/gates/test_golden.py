"""Golden clips decide what only listening can."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from tests.worker.validate.contexts import context

from modelward.worker.validate.context import Context
from modelward.worker.validate.gates.golden import check
from modelward.worker.validate.model_under_test import Array


class Parrot:
    """Says the same whatever it hears."""

    def __init__(self, text: str) -> None:
        self.text = text

    def probe(self) -> list[Array]:
        return []

    def batch_remark(self) -> tuple[bool, str]:
        return True, ""

    def remark(self) -> str:
        return ""

    def transcribe(self, samples: npt.NDArray[np.float32]) -> str:
        return self.text


def clip(directory: Path, name: str, text: str | None, *, seconds: float = 0.1) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    soundfile.write(directory / f"{name}.wav", np.zeros(int(seconds * 16_000), dtype=np.float32), 16_000)
    if text is not None:
        (directory / f"{name}.txt").write_text(text)


@pytest.fixture
def sets(tmp_path: Path) -> tuple[Path, Path]:
    (tmp_path / "v1").mkdir()
    return tmp_path / "operator", tmp_path / "v1" / "golden"


def judged(sets: tuple[Path, Path], says: str = "one two", **more: object) -> Context:
    made = context(sets[1].parent, golden=str(sets[0]), **more)
    made.subject = Parrot(says)
    return made


def test_passes_when_there_are_no_clips(sets: tuple[Path, Path]) -> None:
    assert check(judged(sets)).because == "no golden clips"


def test_passes_what_is_right_up_to_punctuation_and_keeps_clips_to_measure_with(sets: tuple[Path, Path]) -> None:
    clip(sets[0], "a", "One, two.\n")
    clip(sets[1], "b", "one two")
    made = judged(sets)
    answer = check(made)
    assert answer.passed and not answer.warning
    assert answer.because == (
        "golden set error rate 0.00 over 1 clip; the version's own golden set error rate 0.00 over 1 clip"
    )
    assert len(made.clips) == 2


def test_says_the_rate_and_the_worst_clip(sets: tuple[Path, Path]) -> None:
    clip(sets[0], "good", "one two")
    clip(sets[0], "bad", "one ten")
    answer = check(judged(sets))
    assert not answer.passed
    assert answer.because == "golden set error rate 0.14, at most 0.10 (worst clip bad, 0.29)"
    assert check(judged(sets, max_error_rate=0.2)).passed


def test_a_version_cannot_dilute_the_operators_clips_with_its_own(sets: tuple[Path, Path]) -> None:
    clip(sets[0], "bad", "something else")
    for number in range(20):
        clip(sets[1], f"easy{number}", "one two")
    answer = check(judged(sets))
    assert not answer.passed and answer.because.startswith("golden set error rate")


def test_a_version_that_fails_its_own_clips_is_refused(sets: tuple[Path, Path]) -> None:
    clip(sets[0], "good", "one two")
    clip(sets[1], "own", "three")
    answer = check(judged(sets))
    assert not answer.passed and answer.because.startswith("the version's own golden set error rate")


def test_an_unusable_clip_is_a_warning_and_one_without_text_is_none(sets: tuple[Path, Path]) -> None:
    clip(sets[0], "no-text", None)
    clip(sets[0], "good", "one two")
    clip(sets[0], "torn", "one two")
    (sets[0] / "torn.wav").write_bytes(b"RIFF")
    answer = check(judged(sets))
    assert answer.passed and answer.warning
    assert answer.because.startswith("golden set error rate 0.00 over 1 clip; torn can't be used: cannot read")


def test_stops_when_its_share_of_the_time_is_gone_and_says_so(sets: tuple[Path, Path]) -> None:
    clip(sets[0], "a", "one two")
    answer = check(judged(sets, timeout_seconds=0.0))
    assert answer.passed and answer.warning
    assert "1 clip left out: no time" in answer.because


def test_tensors_have_no_texts(sets: tuple[Path, Path]) -> None:
    clip(sets[0], "a", "else")
    assert check(judged(sets, kind="tensor")).because == "not for kind tensor"
