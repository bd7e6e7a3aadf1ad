"""The demo's versions through the recogniser that serves: every form of them, and a clip long enough to be cut."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.versions import (
    clips,
    external_version,
    good_version,
    quantized_version,
    sherpa_version,
)

from modelward.worker.audio.decode import decode
from modelward.worker.demo import synth
from modelward.worker.sensevoice.pipeline import Recognizer
from modelward.worker.sensevoice.transcript import Transcript
from modelward.worker.validate.error_rate import compare


def transcribe(recognizer: Recognizer, clip: Path) -> Transcript:
    return recognizer.transcribe(decode(clip.read_bytes(), max_seconds=600.0))


@pytest.mark.parametrize("words", [False, True])
@pytest.mark.parametrize("form", [good_version, external_version, quantized_version, sherpa_version])
def test_every_form_hears_every_sample_clip(form: Callable[..., Path], words: bool, tmp_path: Path) -> None:
    recognizer = Recognizer.load(form(tmp_path, words=words))
    kind = "words" if words else "digits"
    for clip in clips().values():
        heard = transcribe(recognizer, clip)
        expected = clip.with_suffix(f".{kind}.txt").read_text(encoding="utf-8").strip()
        assert heard.text.split() == expected.split() if words else heard.text.replace(" ", "") == expected
        assert heard.language == "en"


def test_a_long_clip_is_cut_between_keys_and_told_with_its_times(tmp_path: Path) -> None:
    heard = transcribe(Recognizer.load(good_version(tmp_path)), clips()["long-with-pauses"])
    assert len(heard.segments) > 3
    assert all(segment.end - segment.start <= 30.0 for segment in heard.segments)
    assert [segment.start for segment in heard.segments] == sorted(segment.start for segment in heard.segments)


def test_golden_clips_say_the_same_without_the_silence_between_them(tmp_path: Path) -> None:
    recognizer, rng = Recognizer.load(good_version(tmp_path)), np.random.default_rng(5)
    for names, noise in (
        (("0123456789", "5551234"), 1e-3),
        (("5551234", "quiet-star-31-hash"), 0.0),
        (("noisy-2025550147", "5551234"), 1e-4),
    ):
        golden = [clips()[name] for name in names]
        first, second = (decode(path.read_bytes(), max_seconds=600.0) for path in golden)
        silence = np.zeros(5 * 16_000, np.float32)
        sound = np.concatenate([silence, first, silence, second, silence])
        sound = (sound + rng.normal(0.0, noise, len(sound))).astype(np.float32)
        expected = "".join(path.with_suffix(".digits.txt").read_text(encoding="utf-8").strip() for path in golden)
        whole, trimmed = recognizer.transcribe(sound), recognizer.transcribe(sound, trim=True)
        assert [compare(heard.text.replace(" ", ""), expected).rate for heard in (whole, trimmed)] == [0, 0], names
        run = sum(span.end - span.start for span in recognizer.cut(sound, trim=True))
        assert run < len(first) + len(second) + 4 * 16_000, "the silence is not run"


def test_the_full_stop_comes_with_itn(tmp_path: Path) -> None:
    recognizer = Recognizer.load(good_version(tmp_path, words=True))
    assert recognizer.recognize(synth.dial("42"), itn=True).text == "four two."
    assert recognizer.recognize(synth.dial("42"), itn=False).text == "four two"


def test_noisy_numbers_are_heard_through_the_whole_pipeline(tmp_path: Path) -> None:
    recognizer = Recognizer.load(good_version(tmp_path))
    rng = np.random.default_rng(4)
    for seed in range(20):
        number = "".join(rng.choice(list(synth.KEYS), 12))
        sound = synth.dial(number, snr_db=10.0, level_db=float(rng.uniform(-40, 0)), seed=seed)
        assert recognizer.transcribe(sound).text.replace(" ", "") == number
