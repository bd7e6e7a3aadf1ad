from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from tests.worker.sensevoice.vectors import (
    CLIPS,
    EXPECTED,
    MODELS,
    clip,
)

from modelward.worker.ort_session import RunTerminated
from modelward.worker.sensevoice.pipeline import BadSenseVoiceFiles, Recognizer, check_language


@pytest.fixture(scope="module", params=MODELS, ids=lambda path: path.name)
def recognizer(request: pytest.FixtureRequest) -> Recognizer:
    return Recognizer.load(request.param)


@pytest.mark.parametrize("name", CLIPS)
def test_text_tags_tokens_and_times_equal_those_of_other_runtimes(recognizer: Recognizer, name: str) -> None:
    samples = clip(name)
    assert len(EXPECTED[name]) == 6
    for asked, answers in EXPECTED[name].items():
        language, norm = asked.split("/")
        piece = recognizer.recognize(samples, language=language, itn=norm == "withitn")
        expected = answers["sherpa"]
        assert piece.text == expected["text"], asked
        assert list(piece.tokens) == expected["tokens"], asked
        assert list(piece.times) == expected["timestamps"], asked
        tags = [f"<|{tag}|>" for tag in (piece.language, piece.emotion, piece.event)]
        assert tags == [expected["lang"], expected["emotion"], expected["event"]], asked
        assert answers["funasr_raw"].startswith("".join(tags) + f"<|{norm}|>"), asked


@pytest.mark.parametrize("samples", [0, 1, 399])
def test_a_clip_shorter_than_a_window_is_empty_text(recognizer: Recognizer, samples: int) -> None:
    answer = recognizer.transcribe(np.zeros(samples, dtype=np.float32))
    assert (answer.text, answer.segments, answer.language) == ("", (), "nospeech")


@pytest.mark.parametrize("samples", [400, 559, 560, 961, 1359])
def test_clips_of_a_few_frames_are_read(recognizer: Recognizer, samples: int) -> None:
    recognizer.transcribe(clip("en.wav")[:samples])


def test_digital_silence_is_empty_text_without_events(recognizer: Recognizer) -> None:
    answer = recognizer.transcribe(np.zeros(32000, dtype=np.float32))
    assert (answer.text, answer.language, answer.events, answer.duration) == ("", "nospeech", (), 2.0)


def test_identical_audio_gives_identical_answers_from_many_threads(recognizer: Recognizer) -> None:
    samples = clip("zh.wav")
    with ThreadPoolExecutor(4) as pool:
        answers = set(pool.map(lambda _: recognizer.recognize(samples.copy()), range(12)))
    assert len(answers) == 1


def test_a_long_clip_is_the_text_of_its_pieces_in_their_places(recognizer: Recognizer) -> None:
    silence = np.zeros(48000, dtype=np.float32)
    one = clip("en.wav")
    samples = np.concatenate([np.concatenate([one, silence]) for _ in range(6)])
    answer = recognizer.transcribe(samples)
    assert len(answer.segments) == 6
    for number, segment in enumerate(answer.segments):
        assert abs(segment.start - number * 8.87) < 0.6
        assert segment.end - segment.start <= 30
        assert all(segment.start <= time <= segment.end for time in segment.times)
    assert answer.text == " ".join(segment.text for segment in answer.segments)
    assert (answer.language, answer.emotion, answer.events) == ("en", "NEUTRAL", ("Speech",))


def test_more_than_a_minute_in_one_run_is_refused(recognizer: Recognizer) -> None:
    with pytest.raises(ValueError, match=r"cannot recognize 61\.0 s in one piece"):
        recognizer.recognize(np.zeros(61 * 16000, dtype=np.float32))


def test_an_unknown_language_is_refused_with_the_list(recognizer: Recognizer) -> None:
    with pytest.raises(ValueError, match="'fr': the language is one of auto, zh, en, yue, ja, ko, nospeech"):
        recognizer.recognize(clip("en.wav"), language="fr")
    assert check_language("") == "auto"
    assert check_language(" ZH ") == "zh"


def test_a_run_can_be_ended_from_outside(recognizer: Recognizer) -> None:
    options = ort.RunOptions()
    stop = threading.Thread(target=lambda: setattr(options, "terminate", True))
    stop.start()
    stop.join()
    with pytest.raises(RunTerminated):
        recognizer.recognize(clip("en.wav"), run_options=options)
    assert recognizer.recognize(clip("en.wav")).text


def test_a_model_is_warm_after_a_run_of_its_own(recognizer: Recognizer) -> None:
    recognizer.warm()


def test_a_missing_provider_is_passed_over(tmp_path: Path) -> None:
    loaded = Recognizer.load(MODELS[0], providers=("TensorrtExecutionProvider", "CPUExecutionProvider"))
    assert loaded.recognize(clip("tone440_0.5.wav")).text == "re"


def test_a_directory_that_is_not_there_is_a_bad_model(tmp_path: Path) -> None:
    with pytest.raises(BadSenseVoiceFiles, match="cannot read gone: No such file"):
        Recognizer.load(tmp_path / "gone")
