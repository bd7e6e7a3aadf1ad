"""What clients send that no page of ours tells them to: each is answered, or refused with a reason they can show."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import httpx
import pytest
from tests import asking
from tests.worker.http.serving import (
    Served,
    raw,
    serving,
    wav,
)

from modelward.worker.http.connection import ConnectionLimits
from modelward.worker.http.middleware import version_header
from modelward.worker.http.paths import meant_path
from modelward.worker.http.upload import FIELD_BYTES, PARAMETERS, PREAMBLE_BYTES

CLIP = wav(1)
FORM = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n' + CLIP + b"\r\n--b--\r\n"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    limits = ConnectionLimits(head_bytes=8192)
    with serving(tmp_path_factory.mktemp("habits"), limits=limits, max_upload_bytes=1 << 20) as served:
        yield served


def ask(served: Served, path: str = "/v1/audio/transcriptions", part: str = "file", **options: Any) -> httpx.Response:
    return asking.post(served.url + path, **{"files": {part: ("a.wav", CLIP)}, **options})


def form(served: Served, body: bytes, path: str = "/v1/audio/transcriptions") -> httpx.Response:
    kind = {"content-type": "multipart/form-data; boundary=b"}
    return asking.post(served.url + path, content=body, headers=kind)


# forms


@pytest.mark.parametrize(
    "before",
    [
        b"\r\n",
        b"This is a form.\r\n",
        b"--not the boundary\r\n\r\nof this form\r\n",
        b"x" * (PREAMBLE_BYTES - 200) + b"\r\n",
        b"\r\n\r\n--bb\r\n",
    ],
)
def test_a_form_may_begin_with_text_for_other_readers(served: Served, before: bytes) -> None:
    assert form(served, before + FORM).json()["text"] == "v1+itn"


def test_text_before_a_form_that_comes_in_pieces_is_passed_over_too(served: Served) -> None:
    whole = b"For other readers.\r\n" + FORM
    head = b"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    head += b"Content-Type: multipart/form-data; boundary=b\r\nTransfer-Encoding: chunked\r\n\r\n"
    body = b"".join(b"1\r\n%c\r\n" % byte for byte in whole[:60]) + b"%x\r\n%s\r\n0\r\n\r\n" % (
        len(whole) - 60,
        whole[60:],
    )
    assert b'"text":"v1+itn"' in raw(served, head + body)


@pytest.mark.parametrize("before", [b"x" * (PREAMBLE_BYTES + 1) + b"\r\n", b"no line ends here"])
def test_what_is_no_form_is_refused(served: Served, before: bytes) -> None:
    answer = form(served, before + FORM)
    assert answer.status_code == 400 and answer.json()["error"]["code"] == "bad_form"


@pytest.mark.parametrize("field", ["prompt", "hotwords", "anything", "prompt[]"])
def test_a_long_prompt_is_taken_as_a_short_one_is(served: Served, field: str) -> None:
    assert ask(served, data={field: "字" * 4000, "response_format": "text"}).text == "v1+itn\n"


def test_a_field_that_is_read_and_too_long_is_named(served: Served) -> None:
    for field in ("model", "language", "timestamp_granularities[]"):
        error = ask(served, data={field: "x" * (FIELD_BYTES + 1)}).json()["error"]
        assert repr(field) in error["message"] and error["param"] == field


@pytest.mark.parametrize(
    "part",
    [
        b'Content-Disposition: form-data; name="file"\r\n',
        b'Content-Disposition: form-data; name="file"; filename=""\r\n',
        b'Content-Disposition: form-data; name="file"; filename="recording.undefined"\r\nContent-Type: undefined\r\n',
        b"Content-Disposition: form-data; name=\"file\"; filename*=UTF-8''%E5%BD%95.wav\r\n",
        'Content-Disposition: form-data; name="file"; filename="录音.wav"\r\nContent-Type: video/mp4\r\n'.encode(),
        b'Content-Disposition: form-data; name="file"; filename="a.wav"\r\nContent-Transfer-Encoding: binary\r\n',
    ],
)
def test_the_clip_is_taken_whatever_its_part_calls_it(served: Served, part: bytes) -> None:
    assert form(served, b"--b\r\n" + part + b"\r\n" + CLIP + b"\r\n--b--\r\n").json()["text"] == "v1+itn"


def test_a_header_with_more_parameters_than_any_client_sends_is_refused(served: Served) -> None:
    named = b'name="file"; filename="a.wav"'
    taken = FORM.replace(named, named + b";" * (PARAMETERS - 2))
    assert form(served, taken).status_code == 200
    kind = {"content-type": "audio/wav" + ";" * (PARAMETERS + 1)}
    refused = [
        form(served, FORM.replace(named, named + b";" * PARAMETERS)),
        asking.post(served.url + "/v1/audio/transcriptions", content=CLIP, headers=kind),
    ]
    for answer in refused:
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (400, "bad_form")
        assert f"more than {PARAMETERS} parameters" in error["message"]


def test_a_part_in_a_transfer_encoding_is_refused_by_that_name(served: Served) -> None:
    body = FORM.replace(b"\r\n\r\n", b"\r\nContent-Transfer-Encoding: base64\r\n\r\n", 1)
    answer = form(served, body)
    assert answer.status_code == 415 and "'base64'" in answer.json()["error"]["message"]


@pytest.mark.parametrize(("path", "part"), [("/v1/audio/transcriptions", "audio_file"), ("/api/predict", "file")])
def test_a_clip_under_another_name_is_named(served: Served, path: str, part: str) -> None:
    answer = ask(served, path, part)
    wanted = {"file": "audio", "audio_file": "file"}[part]
    assert answer.status_code == 400
    assert answer.json()["error"]["message"] == (
        f"cannot transcribe: the form has no part {wanted!r}, its files are named {part!r}"
    )


@pytest.mark.parametrize("path", ["/api/predict", "/v1/audio/transcriptions"])
def test_languages_have_the_same_names_on_both_routes(served: Served, path: str) -> None:
    part = "audio" if path == "/api/predict" else "file"
    model = served.models["v1"]
    for name, code in {"zh-Hans-CN": "zh", "Chinese": "zh", "en_US": "en", "English": "en", "None": "auto"}.items():
        assert ask(served, path, part, data={"language": name}).status_code == 200
        assert model.said[-1][1] == code
    refused = ask(served, path, part, data={"language": "Deutsch"})
    assert refused.status_code == 400 and "known: auto, en, zh" in refused.json()["error"]["message"]


def test_times_that_were_asked_for_come_with_json_too(served: Served) -> None:
    for field in ("timestamp_granularities[]", "timestamp_granularities", "timestamp_granularities[0]"):
        assert ask(served, data={field: "word"}).json()["words"] == []
        assert ask(served, data={field: "segment", "response_format": "srt"}).status_code == 200
    assert "words" not in ask(served).json()


# paths


@pytest.mark.parametrize("path", ["/health/", "/ready/", "/v1/models/", "/v1//models", "//v1/models", "/v1/models/v1/"])
def test_slashes_too_many_change_nothing(served: Served, path: str) -> None:
    assert asking.get(served.url + path).status_code == 200


def test_a_base_address_that_ends_in_a_slash_is_joined_as_clients_do(served: Served) -> None:
    assert ask(served, "/v1//audio/transcriptions/").json()["text"] == "v1+itn"


def test_paths_that_change_something_have_one_spelling(served: Served) -> None:
    paths = ("/api/reload-model/", "//api/reload-model", "/v2/repository//models/x/load", "/v2//repository/index")
    for path in (*paths, "/v1//jobs", "/v1/jobs/"):
        assert meant_path(path) == path
        assert asking.post(served.url + path).status_code == 404
    encoded = (
        "/api/reload%2Dmodel",
        "/%61pi/reload-model",
        "/v2%2Frepository/models/x/load",
        "/v2/repository/models/%78/load",
    )
    for path in (*encoded, "/v1/job%73"):
        assert asking.post(served.url + path).status_code == 404, path
    raw = "/v2/repository/models/模型 v1/load"
    assert meant_path(raw, quote(raw).encode()) == raw, "what has to be encoded may be"
    assert meant_path("/v1/models", b"/v1/%6Dodels") == "/v1/models"


def test_an_open_path_is_open_with_a_slash_and_no_other_is(tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text("secret\n")
    with serving(tmp_path, token_file=str(tmp_path / "tokens")) as served:
        assert asking.get(served.url + "/health/").status_code == 200
        for path in ("/v1/models/", "//v1/models", "/metrics/", "/openapi.json/", "/health/x", "//"):
            assert asking.get(served.url + path, headers={"accept": "*/*"}).status_code == 401, path


# errors


def check_shape(answer: httpx.Response, status: int, code: str) -> None:
    assert answer.status_code == status
    assert set(answer.json()) == {"error"}
    error = answer.json()["error"]
    assert error["code"] == code and error["message"].startswith("cannot") and error["type"] and "param" in error


def test_every_refusal_has_openais_shape(served: Served) -> None:
    url = served.url
    check_shape(asking.get(url + "/v1/nothing"), 404, "no_such_route")
    check_shape(asking.get(url + "/v1/audio/transcriptions"), 405, "wrong_method")
    check_shape(ask(served, files={"file": ("a.wav", bytes(2 << 20))}), 413, "upload_too_large")
    check_shape(asking.get(url + "/v1/models", headers={"x": "y" * 9000}), 431, "bad_request")
    check_shape(asking.get(url + "/v1/models/nothing"), 404, "model_not_found")
    assert asking.get(url + "/v1/audio/transcriptions").headers["allow"] == "POST"


def test_a_worker_without_a_model_has_openais_shape_too(tmp_path: Path) -> None:
    with serving(tmp_path, version="") as served:
        answer = asking.get(served.url + "/v1/models/x")
        check_shape(answer, 503, "no_model")
        assert answer.headers["retry-after"] == "1"


def test_a_translation_is_refused_with_the_reason(served: Served) -> None:
    answer = ask(served, "/v1/audio/translations")
    check_shape(answer, 404, "no_translation")
    assert "/v1/audio/transcriptions" in answer.json()["error"]["message"]


# what is told beside the answer


@pytest.mark.parametrize("version", ["模型-v1.0", "модель v2", "größe-v1", "100%-v1", "a%41-v1", "plain_v1.0+x~y"])
def test_a_version_of_any_name_is_told_in_a_header(tmp_path: Path, version: str) -> None:
    with serving(tmp_path, version=version) as served:
        answer = ask(served, "/api/predict", "audio")
        assert unquote(answer.headers["x-model-version"]) == version == answer.json()["version"]
        assert answer.headers["x-model-version"].isascii()


def test_a_plain_name_of_a_version_is_told_as_it_is() -> None:
    assert version_header("sensevoice-small-onnx-quant-v1.1") == "sensevoice-small-onnx-quant-v1.1"
    assert version_header("a (b), c=d;e~") == "a (b), c=d;e~"


def test_the_service_describes_its_own_routes(served: Served) -> None:
    answer = asking.get(served.url + "/openapi.json")
    document = answer.json()
    assert answer.status_code == 200 and document["openapi"].startswith("3.1")
    assert document["paths"]["/v1/audio/transcriptions"]["post"]["requestBody"]["content"]["multipart/form-data"]
    assert {"/api/predict", "/v1/models/{model}", "/v2/models/{model}/infer", "/health"} <= set(document["paths"])
    names = [operation["operationId"] for path in document["paths"].values() for operation in path.values()]
    assert len(names) == len(set(names))
    for path, methods in document["paths"].items():
        for method in methods:
            known = asking.request(
                method.upper(), served.url + path.replace("{model}", "v1").replace("{version}", "v1")
            )
            assert known.status_code != 405 and "no_such_route" not in known.text, (method, path)


# clients by their names


def test_open_webui(served: Served) -> None:
    """It always sends a token, names its file as the browser did, and reads `text`."""
    answer = ask(
        served,
        files={"file": ("0a1b.webm", CLIP)},
        data={"model": "whisper-1", "language": "en"},
        headers={"authorization": "Bearer none", "x-openwebui-user-name": "%E6%9D%8E"},
    )
    assert answer.json()["text"] == "v1+itn"


def test_home_assistant(served: Served) -> None:
    """Its OpenAI add-ons send raw PCM in a WAV, a temperature, a prompt, and `response_format=json`."""
    data = {
        "language": "en",
        "model": "gpt-4o-mini-transcribe",
        "prompt": "",
        "temperature": "0",
        "response_format": "json",
    }
    answer = ask(served, files={"file": ("audio.wav", CLIP, "audio/wav")}, data=data)
    assert answer.json()["text"] == "v1+itn"


def test_fastgpt_and_litellm_send_verbose_json_and_fields_of_their_own(served: Served) -> None:
    data = {"model": "iic/SenseVoiceSmall", "response_format": "verbose_json", "timestamp_granularities": '["segment"]'}
    answer = ask(served, data={**data, "user": "x", "metadata": "{}"}).json()
    assert answer["segments"] == [] and isinstance(answer["duration"], float)


async def _aiohttp(url: str) -> Any:
    import aiohttp

    form = aiohttp.FormData({"model": "whisper-1"})
    form.add_field("file", CLIP, filename="录音.wav", content_type="audio/wav")
    async with aiohttp.ClientSession() as session, session.post(url + "/v1/audio/transcriptions", data=form) as answer:
        return await answer.json()


def test_aiohttp(served: Served) -> None:
    pytest.importorskip("aiohttp", reason="aiohttp is not installed")
    import asyncio

    assert asyncio.run(_aiohttp(served.url))["text"] == "v1+itn"


def test_the_standard_librarys_client_passes_over_the_question_whether_it_waits(served: Served) -> None:
    with socket.create_connection(("127.0.0.1", served.port)) as connection:
        head = f"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(FORM)}\r\n"
        connection.sendall(head.encode() + b"Content-Type: multipart/form-data; boundary=b\r\n\r\n" + FORM)
        connection.shutdown(socket.SHUT_WR)
        import http.client

        answer = http.client.HTTPResponse(connection)
        answer.begin()
        assert json.loads(answer.read())["text"] == "v1+itn"
