"""What clients send besides plain clips, and how each route answers it: a real worker with the demo's recogniser."""

from __future__ import annotations

import io
from collections.abc import Iterator

import httpx
import numpy as np
import pytest
import soundfile
from tests.media_files import media_file, silent_video
from tests.worker.running import (
    Worker,
    clip,
    digits,
    worker,
)

ONE, OTHER = "5551234", "0123456789"
FORMATS = ("json", "text", "srt", "vtt", "verbose_json")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    with worker(tmp_path_factory.mktemp("forms"), digits()) as running:
        yield running


@pytest.fixture
def http(running: Worker) -> httpx.Client:
    return running.client()


def samples(name: str) -> np.ndarray:
    return soundfile.read(io.BytesIO(clip(name)), dtype="float32")[0]


def wav(sound: np.ndarray, rate: int = 16_000) -> bytes:
    made = io.BytesIO()
    soundfile.write(made, sound, rate, format="WAV", subtype="PCM_16")
    return made.getvalue()


def predict(
    http: httpx.Client, data: bytes, kind: str = "audio/wav", name: str = "a.wav", **fields: str
) -> httpx.Response:
    return http.post("/api/predict", files={"audio": (name, data, kind)}, data=fields)


def openai(http: httpx.Client, data: bytes, **fields: str) -> httpx.Response:
    return http.post("/v1/audio/transcriptions", files={"file": ("a.wav", data)}, data={"model": "whisper-1", **fields})


def test_two_people_on_two_channels_are_two_rows_of_segments_in_the_order_of_their_turns(http: httpx.Client) -> None:
    one, other, pause = samples(ONE), samples(OTHER), np.zeros(3 * 16_000, np.float32)
    left = np.concatenate([one, pause, np.zeros_like(other), pause, one])
    right = np.concatenate([np.zeros_like(one), pause, other, pause, np.zeros_like(one)])
    call = wav(np.stack([left, right], axis=1))
    answer = predict(http, call, channels="split").json()
    assert [(s["channel"], s["text"]) for s in answer["segments"]] == [(0, ONE), (1, OTHER), (0, ONE)]
    starts = [s["start"] for s in answer["segments"]]
    assert starts == sorted(starts) and answer["duration"] == pytest.approx(len(left) / 16_000, abs=0.01)
    verbose = openai(http, call, channels="split", response_format="verbose_json").json()
    assert [s["channel"] for s in verbose["segments"]] == [0, 1, 0]
    mixed = predict(http, call).json()
    assert mixed["result"] == ONE + OTHER + ONE and "channel" not in mixed["segments"][0]
    assert predict(http, call, channels="both").json()["error"]["code"] == "bad_value"


def test_a_call_recorded_with_one_channel_the_wrong_way_round_is_heard(http: httpx.Client) -> None:
    assert predict(http, wav(np.stack([samples(ONE), -samples(ONE)], axis=1))).json()["result"] == ONE


@pytest.mark.parametrize("form", FORMATS)
def test_a_clip_without_voice_is_answered_in_every_format_without_a_run(
    running: Worker, http: httpx.Client, form: str
) -> None:
    before = _runs(http)
    answer = openai(http, wav(np.zeros(3 * 16_000)), response_format=form)
    empty = {"text": "\n", "srt": "", "vtt": "WEBVTT\n"}
    assert answer.status_code == 200
    if form in empty:
        assert answer.text == empty[form]
    else:
        assert answer.json()["text"] == "" and answer.json().get("segments", []) == []
    assert _runs(http) == before


def test_a_stream_of_a_clip_without_voice_ends_at_once(http: httpx.Client) -> None:
    answer = openai(http, wav(np.zeros(16_000)), stream="true")
    assert '"transcript.text.done","text":""' in answer.text and answer.text.endswith("data: [DONE]\n\n")


def test_very_quiet_speech_is_no_silence(http: httpx.Client) -> None:
    made = io.BytesIO()
    soundfile.write(made, samples(ONE) * 0.003, 16_000, format="WAV", subtype="FLOAT")
    assert predict(http, made.getvalue()).json()["result"] == ONE


def _runs(http: httpx.Client) -> str:
    """The line that counts runs of the model."""
    lines = http.get("/metrics").text.splitlines()
    return next(line for line in lines if line.startswith("modelward_worker_queue_wait_seconds_count"))


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_says_that_the_end_of_a_clip_is_missing(http: httpx.Client, form: str) -> None:
    whole = clip(OTHER)
    answers = [openai(http, data, response_format=form) for data in (whole, whole[: len(whole) // 2])]
    assert [answer.status_code for answer in answers] == [200, 200]
    if form.endswith("json"):
        assert [answer.json().get("truncated") for answer in answers] == [None, True]
        heard = answers[1].json()["text"].rstrip(".")
        assert heard in OTHER and len(heard) >= 4
    else:
        assert [answer.headers.get("x-audio-truncated") for answer in answers] == [None, "true"]


def test_predict_and_a_stream_say_it_too(http: httpx.Client) -> None:
    half = clip(OTHER)[: len(clip(OTHER)) // 2]
    assert predict(http, half).json()["truncated"] is True and "truncated" not in predict(http, clip(OTHER)).json()
    assert '"truncated":true' in openai(http, half, stream="true").text


def test_sound_without_a_header_is_read_by_its_type_or_name(http: httpx.Client) -> None:
    pcm = clip(ONE)[44:]
    assert predict(http, pcm, "audio/L16;rate=16000;channels=1", "a").json()["result"] == ONE
    assert predict(http, pcm, "application/octet-stream", "a.pcm").json()["result"] == ONE
    whole = http.post("/api/predict", content=pcm, headers={"content-type": "audio/pcm; rate=16000"})
    assert whole.json()["result"] == ONE
    refused = predict(http, pcm, "application/octet-stream", "a.bin")
    assert refused.status_code == 415 and refused.json()["error"]["code"] == "unsupported_audio"


def test_a_voice_memo_is_taken_as_a_part_and_as_the_whole_body(http: httpx.Client) -> None:
    memo = media_file("voice memo")
    parts = predict(http, memo, "audio/x-m4a", "memo.m4a")
    whole = http.post("/api/predict", content=memo, headers={"content-type": "video/mp4"})
    for answer in (parts, whole):
        assert answer.status_code == 200 and answer.json()["duration"] == pytest.approx(2.0, abs=0.1)
    assert predict(http, silent_video(), "video/mp4", "v.mp4").status_code == 415
