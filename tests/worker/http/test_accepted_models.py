"""Which names of a model clients may give on OpenAI's routes."""

from __future__ import annotations

import pytest

from modelward.worker.http.accepted_models import is_accepted

VERSION = "sensevoice-small-onnx-quant-v1.1"


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        VERSION,
        VERSION.upper(),
        "sensevoice-small-onnx-quant",
        "SenseVoiceSmall",
        "SenseVoice-Small",
        "sense_voice_small",
        "Sense Voice",
        "FunAudioLLM/SenseVoiceSmall",
        "Pro/FunAudioLLM/SenseVoiceSmall",
        "iic/SenseVoiceSmall",
        "iic/SenseVoiceSmall:latest",
        "csukuangfj/sherpa-onnx-sense-voice-zh-en-ja-ko-yue-2024-07-17",
        "SenseVoiceLarge",
        "whisper-1",
        "Whisper-1",
        "openai/whisper-1",
        "whisper",
        "whisper-large-v3",
        "whisper-large-v3-turbo",
        "Systran/faster-whisper-large-v3",
        "gpt-4o-transcribe",
        "gpt-4o-mini-transcribe",
        "gpt-4o-mini-transcribe-2025-12-15",
    ],
)
def test_takes_the_names_that_clients_have_built_in(name: str) -> None:
    assert is_accepted(name, VERSION, ())


@pytest.mark.parametrize(
    "name",
    [
        "gpt-4o-transcribe-diarize",  # promises speakers
        "gpt-4o",
        "tts-1",
        "whisper-2",
        "paraformer-zh",
        "sense",
        "SenseVoiceSmall/other",
        "FunAudioLLM/",
        "/",
    ],
)
def test_refuses_names_that_promise_something_else(name: str) -> None:
    assert not is_accepted(name, VERSION, ())


def test_another_version_of_the_same_model_is_another_model() -> None:
    assert not is_accepted("dtmf-v1.0", "dtmf-v1.1", ())
    assert is_accepted("org/DTMF", "dtmf-v1.1", ())


def test_the_operators_names_are_taken_in_any_case_and_under_any_organisation() -> None:
    aliases = ("Our-ASR", "distil-whisper/distil-large-v3", "语音")
    for name in ("our-asr", "OUR-ASR", "acme/our-asr", "distil-whisper/Distil-Large-v3", "语音"):
        assert is_accepted(name, VERSION, aliases), name
    for name in ("our", "distil-large-v3", "our-asr-2"):
        assert not is_accepted(name, VERSION, aliases), name


def test_every_version_that_is_served_answers_to_its_own_name() -> None:
    for version in ("模型-v1", "ẞ-v1", "İ", "v3", "a.b_c"):
        assert is_accepted(version, version, ())
