"""Golden clips decide what only listening can."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from msgspec.structs import replace
from tests.worker.validate.contexts import context

from modelward.worker.validate.context import Context, GateAnswer
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
    made = judged(sets)
    made.candidate = replace(made.candidate, golden="")
    assert check(made) == GateAnswer(True, "no golden clips")


def test_clips_that_are_configured_and_not_there_are_a_warning(sets: tuple[Path, Path]) -> None:
    answer = check(judged(sets))
    assert answer.passed and answer.warning
    assert answer.because == f"golden set: {sets[0]} is not there, so no text was checked"
    sets[0].mkdir()
    answer = check(judged(sets))
    assert answer.warning and answer.because.endswith("holds no clips, so no text was checked")


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


@pytest.mark.parametrize(
    ("half", "because"),
    [("half.wav", "half.wav has no half.txt beside it"), ("half.TXT", "half.TXT has no half.wav beside it")],
)
def test_a_clip_that_is_half_there_is_a_warning(sets: tuple[Path, Path], half: str, because: str) -> None:
    clip(sets[0], "good", "one two")
    (sets[0] / half).write_bytes(b"")
    (sets[0] / "README.txt").write_text("where these are from")
    answer = check(judged(sets))
    assert answer.passed and answer.warning
    assert answer.because == f"golden set error rate 0.00 over 1 clip; {because}"


def test_a_clip_and_its_text_belong_together_whatever_the_case_of_their_names(sets: tuple[Path, Path]) -> None:
    clip(sets[0], "en", "one two")
    (sets[0] / "en.wav").rename(sets[0] / "EN.WAV")
    (sets[0] / "en.txt").rename(sets[0] / "EN.TXT")
    assert check(judged(sets)) == GateAnswer(True, "golden set error rate 0.00 over 1 clip")


def test_an_unusable_clip_is_a_warning(sets: tuple[Path, Path]) -> None:
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
