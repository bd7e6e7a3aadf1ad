"""OpenAI's own clients against a real worker, and the surface's edges against a model under control."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from tests import asking
from tests.good_versions import SHARED
from tests.support import PATIENCE_SECONDS, eventually, soon
from tests.worker.http.serving import (
    Asking,
    Served,
    serving,
    wav,
)
from tests.worker.running import (
    Worker,
    clip,
    words,
    worker,
)

from modelward.worker.http.openai import TranscriptStream

if TYPE_CHECKING:
    import openai

DIGITS = "5551234"
PAUSES = "long-with-pauses"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    with worker(tmp_path_factory.mktemp("openai"), words()) as running:
        yield running


@pytest.fixture(scope="module")
def sdk() -> Any:
    """OpenAI's client. Importing it takes seconds: in the process that uses it, not in each that collects this file."""
    import openai

    return openai


@pytest.fixture
def client(running: Worker, sdk: Any) -> Iterator[openai.OpenAI]:
    with sdk.OpenAI(base_url=running.url + "/v1", api_key="none", max_retries=0, timeout=PATIENCE_SECONDS) as client:
        yield client


def transcribe(client: openai.OpenAI, name: str = DIGITS, **options: Any) -> Any:
    return client.audio.transcriptions.create(**{"model": "whisper-1", "file": ("a.wav", clip(name)), **options})


SAID = "five five five one two three four."


def test_json_is_the_default(client: openai.OpenAI) -> None:
    answer = transcribe(client)
    assert answer.text == SAID
    assert answer.usage.type == "duration" and answer.usage.seconds > 1


def test_text_is_the_bare_text(client: openai.OpenAI) -> None:
    assert transcribe(client, response_format="text") == SAID + "\n"


def test_verbose_json_has_segments_and_words(client: openai.OpenAI) -> None:
    answer = transcribe(client, response_format="verbose_json", timestamp_granularities=["word", "segment"])
    assert answer.text == SAID and answer.duration > 1 and isinstance(answer.language, str)
    assert [s.text for s in answer.segments] == [SAID] and answer.segments[0].end > answer.segments[0].start
    assert [w.word for w in answer.words] == SAID.split()
    starts = [w.start for w in answer.words]
    assert starts == sorted(starts) and all(w.end >= w.start for w in answer.words)


def test_granularities_choose_what_comes(client: openai.OpenAI) -> None:
    only_words = transcribe(client, response_format="verbose_json", timestamp_granularities=["word"])
    assert only_words.words and not only_words.segments
    plain = transcribe(client, response_format="verbose_json")
    assert plain.segments and not plain.words


def test_subtitles_come_as_srt_and_vtt(client: openai.OpenAI) -> None:
    srt, vtt = (transcribe(client, response_format=form) for form in ("srt", "vtt"))
    assert srt.startswith("1\n00:00:0") and " --> " in srt and SAID in srt
    assert vtt.startswith("WEBVTT\n\n00:00:0") and SAID in vtt


def test_a_stream_brings_the_text_piece_by_piece(client: openai.OpenAI) -> None:
    events = list(transcribe(client, PAUSES, stream=True))
    deltas = [e.delta for e in events if e.type == "transcript.text.delta"]
    done = events[-1]
    assert len(deltas) > 1 and done.type == "transcript.text.done"
    assert "".join(deltas) == done.text == transcribe(client, PAUSES).text


@pytest.mark.parametrize(
    "model",
    [
        *("dtmf-v1.1", "dtmf", "DTMF-v1.1", "whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe"),
        *("sensevoice", "FunAudioLLM/SenseVoiceSmall", "sensevoice-small-v9", "whisper-large-v3-turbo"),
    ],
)
def test_takes_the_names_its_users_know(client: openai.OpenAI, model: str) -> None:
    assert transcribe(client, model=model).text == SAID


def test_a_model_that_is_not_here_is_not_found(client: openai.OpenAI, sdk: Any) -> None:
    for ask in (
        lambda: transcribe(client, model="gpt-4o-transcribe-diarize"),
        lambda: transcribe(client, model="dtmf-v1.0"),
        lambda: client.models.retrieve("nothing"),
    ):
        with pytest.raises(sdk.NotFoundError) as caught:
            ask()
        assert caught.value.code == "model_not_found" and caught.value.param == "model"
        assert "dtmf-v1.1" in caught.value.message


def test_the_one_model_is_the_version(client: openai.OpenAI) -> None:
    models = list(client.models.list())
    assert [(m.id, m.object, m.owned_by) for m in models] == [("dtmf-v1.1", "model", "modelward")]
    assert models[0].created > 1_700_000_000
    assert client.models.retrieve("dtmf-v1.1") == models[0]


@pytest.mark.parametrize("name", ["dtmf-v1.1", "FunAudioLLM/SenseVoiceSmall", "iic/SenseVoiceSmall", "whisper-1"])
def test_a_model_is_found_by_every_name_that_it_is_asked_for_by(client: openai.OpenAI, name: str) -> None:
    assert client.models.retrieve(name).id == "dtmf-v1.1"
    assert status_of(client, f"models/{name}") == 200, "a slash that is not escaped belongs to the name"


def status_of(client: openai.OpenAI, path: str) -> int:
    return asking.get(f"{client.base_url}{path}").status_code


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"response_format": "diarized_json"}, "response_format"),
        ({"response_format": "srt", "stream": True}, "response_format"),
        ({"response_format": "verbose_json", "timestamp_granularities": ["letter"]}, "timestamp_granularities"),
        ({"language": "klingon"}, "language"),
        ({"extra_body": {"temperature": "hot"}}, "temperature"),
        ({"extra_body": {"stream": "perhaps"}}, "stream"),
        ({"file": ("a.wav", b"")}, "file"),
        ({"file": ("a.wav", wav(1)[:30])}, "file"),
    ],
)
def test_what_cannot_be_had_is_a_bad_request(
    client: openai.OpenAI, options: dict[str, Any], param: str, sdk: Any
) -> None:
    with pytest.raises(sdk.BadRequestError) as caught:
        transcribe(client, **options)
    assert caught.value.param == param and caught.value.code
    assert caught.value.type == "invalid_request_error"
    assert str(caught.value.body["message"]).startswith("cannot")  # type: ignore[index]


NODE_CLIENT = "openai@7.59.0"
NODE = """
import OpenAI, { toFile } from "openai";
import { readFileSync } from "fs";
const [baseURL, path] = process.argv.slice(2);
const openai = new OpenAI({ baseURL, apiKey: "none", maxRetries: 0 });
const file = async () => toFile(readFileSync(path), "录音.wav");
const ask = async (more) =>
  openai.audio.transcriptions.create({ file: await file(), model: "whisper-1", stream: false, ...more });
const refused = async (work) =>
  work().then(() => "answered", (e) => [e.constructor.name, e.status, e.code, e.param, e.type, Boolean(e.requestID)]);
const events = [];
for await (const event of await ask({ stream: true })) events.push(event.type);
console.log(JSON.stringify({
  json: (await ask({})).text,
  verbose: await ask({ response_format: "verbose_json", timestamp_granularities: ["word"] }),
  srt: await ask({ response_format: "srt" }),
  events,
  models: (await openai.models.list()).data.map((model) => model.id),
  format: await refused(() => ask({ response_format: "diarized_json" })),
  model: await refused(() => ask({ model: "gpt-9" })),
  audio: await refused(async () => ask({ file: await toFile(Buffer.from("no sound"), "a.mp3") })),
}));
"""


@pytest.fixture(scope="module")
def node_client() -> Path:
    """A directory of this run in which Node.js finds OpenAI's client, from npm's registry or its cache."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("no Node.js with npm here: apt-get install nodejs npm")
    place = Path(os.environ[SHARED]) / "npm"
    done = subprocess.run(
        ["npm", "install", "--prefix", place, "--no-audit", "--no-fund", "--ignore-scripts", "--prefer-offline",
         "--fetch-retries=1", "--fetch-timeout=20000", "--loglevel=error", NODE_CLIENT],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )  # fmt: skip
    if away := re.search(r"code (ENOTFOUND|EAI_AGAIN|ECONN\w+|E\w*TIMEDOUT|ENETUNREACH|E40[34])", done.stderr):
        pytest.skip(f"npm cannot fetch {NODE_CLIENT}: {away[1]}")
    assert done.returncode == 0, done.stderr
    return place


def test_openais_client_for_node(running: Worker, node_client: Path, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(clip(DIGITS))
    (node_client / "ask.mjs").write_text(NODE)
    done = subprocess.run(
        ["node", node_client / "ask.mjs", running.url + "/v1", tmp_path / "a.wav"],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    got = json.loads(done.stdout)
    assert got["json"] == got["verbose"]["text"] == SAID
    assert [word["word"] for word in got["verbose"]["words"]][:2] == ["five", "five"]
    assert isinstance(got["verbose"]["duration"], float)
    assert got["srt"].startswith("1\n00:00:0") and "five five five" in got["srt"]
    assert set(got["events"][:-1]) == {"transcript.text.delta"} and got["events"][-1] == "transcript.text.done"
    assert "dtmf-v1.1" in got["models"]
    assert got["format"] == ["BadRequestError", 400, "bad_value", "response_format", "invalid_request_error", True]
    assert got["model"][:4] == ["NotFoundError", 404, "model_not_found", "model"]
    assert got["audio"][:4] == ["APIError", 415, "unsupported_audio", "file"]


def test_says_which_response_formats_there_are(client: openai.OpenAI, sdk: Any) -> None:
    with pytest.raises(sdk.BadRequestError, match="json, text, srt, verbose_json, vtt"):
        transcribe(client, response_format="xml")


def test_marks_and_figures_are_written_unless_refused(client: openai.OpenAI) -> None:
    assert transcribe(client, extra_body={"itn": "false"}).text == SAID.rstrip(".")


def test_prompt_temperature_and_other_words_for_a_language_are_taken(client: openai.OpenAI) -> None:
    for language in ("zh", "en", "ja", "ko", "yue", "chinese", "English", "Cantonese", "zh-CN", "auto"):
        assert transcribe(client, language=language, prompt="numbers", temperature=0.2).text


def test_every_answer_says_which_version_gave_it(running: Worker) -> None:
    http = running.client()
    asked = http.post("/v1/audio/transcriptions", files={"file": ("a.wav", clip(DIGITS))}, data={"model": "whisper-1"})
    listed = http.get("/v1/models")
    streamed = http.post("/v1/audio/transcriptions", files={"file": ("a.wav", clip(DIGITS))}, data={"stream": "true"})
    for answer in (asked, listed, streamed):
        assert answer.headers["x-model-version"] == "dtmf-v1.1" and len(answer.headers["x-model-digest"]) == 64
    assert streamed.headers["content-type"].startswith("text/event-stream")
    assert streamed.text.endswith("data: [DONE]\n\n")


def test_a_worker_without_a_model_is_asked_again(tmp_path: Path, sdk: Any) -> None:
    with serving(tmp_path, version="") as served, sdk.OpenAI(base_url=served.url + "/v1", api_key="none") as client:
        assert list(client.models.list()) == []
        asked = Asking(lambda: client.audio.transcriptions.create(model="whisper-1", file=("a.wav", wav(1))).text)
        eventually(lambda: served.counters.errors == 1)
        served.swap("v1")
        assert asked.answer() == "v1+itn"
        assert served.counters.errors == 1


def test_a_token_is_asked_for_as_openai_does(tmp_path: Path, sdk: Any) -> None:
    (tmp_path / "tokens").write_text("secret\n")
    with (
        serving(tmp_path, token_file=str(tmp_path / "tokens")) as served,
        sdk.OpenAI(base_url=served.url + "/v1", api_key="wrong", max_retries=0) as client,
    ):
        with pytest.raises(sdk.AuthenticationError):
            client.models.list()
        assert [m.id for m in client.with_options(api_key="secret").models.list()] == ["v1"]


def events_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]


def stream(served: Served, seconds: float, **options: Any) -> httpx.Response:
    url = served.url + "/v1/audio/transcriptions"
    return asking.post(
        url, files={"file": ("a.wav", wav(seconds))}, data={"stream": "true"}, timeout=PATIENCE_SECONDS, **options
    )


def test_bad_audio_in_a_stream_has_a_status_of_its_own(tmp_path: Path) -> None:
    with serving(tmp_path, max_audio_seconds=2.0) as served:
        answer = stream(served, 3)
        assert answer.status_code == 413 and answer.json()["error"]["code"] == "audio_too_long"


def test_a_stream_that_fails_on_its_way_says_so_and_counts_as_failed(tmp_path: Path, sdk: Any) -> None:
    with serving(tmp_path) as served:
        model = served.models["v1"]
        recognize = model.recognize

        def once(samples: Any, threads: int, **options: Any) -> str:
            model.fails = len(model.said) == 1
            return recognize(samples, threads, **options)

        model.recognize = once  # type: ignore[method-assign]
        answer = stream(served, 3)
        events = events_of(answer.text)
        assert answer.status_code == 200 and events[0]["delta"] == "v1+itn"
        assert events[-1]["error"]["code"] == "model_failed"
        eventually(lambda: served.counters.errors == 1)
        with sdk.OpenAI(base_url=served.url + "/v1", api_key="none", max_retries=0) as client:
            model.said.clear()
            events_seen = []
            with pytest.raises(sdk.APIError, match="the model failed"):
                for event in client.audio.transcriptions.create(model="v1", file=("a.wav", wav(3)), stream=True):
                    events_seen.append(event)
            assert len(events_seen) == 1


def test_a_stream_shows_proxies_that_it_is_alive_and_has_them_pass_it_on_at_once() -> None:
    async def work() -> None:
        sent: list[dict[str, Any]] = []

        async def send(message: Any) -> None:
            sent.append(message)

        stream = TranscriptStream({}, send, beat_seconds=0.001)
        await stream.delta("a")
        await soon(lambda: sum(message.get("body") == b": alive\n\n" for message in sent) > 1)
        await stream.done({"text": "a", "duration": 1.0})
        await stream.end()
        assert sent[-1] == {"type": "http.response.body", "body": b"data: [DONE]\n\n", "more_body": False}
        headers = dict(sent[0]["headers"])
        assert headers[b"x-accel-buffering"] == b"no" and b"no-transform" in headers[b"cache-control"]

    asyncio.run(work())


def test_a_stream_nobody_reads_any_more_is_not_worked_on(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        model = served.models["v1"]
        model.go.clear()
        with pytest.raises(httpx.ReadTimeout):
            asking.post(
                served.url + "/v1/audio/transcriptions",
                files={"file": ("a.wav", wav(5))},
                data={"stream": "true"},
                timeout=0.3,
            )
        eventually(lambda: model.terminated == 1)
        eventually(lambda: served.work.load == 0)
