from __future__ import annotations

import select
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests import asking
from tests.support import PATIENCE_SECONDS, eventually
from tests.worker.http.serving import (
    Asking,
    Served,
    post,
    raw,
    serving,
    wav,
)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path, max_upload_bytes=400_000, max_audio_seconds=10.0) as running:
        yield running


def error_of(answer: httpx.Response) -> dict[str, Any]:
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "code"} and error["message"].startswith("cannot")
    assert isinstance(error, dict)
    return error


def test_answers_with_text_version_and_digest(served: Served) -> None:
    answer = post(served, wav(2), itn="true", language="EN")
    assert answer.status_code == 200
    assert answer.json() == {"result": "v1+itn v1+itn", "segments": [], "duration": 2.0, "version": "v1"}
    assert answer.headers["x-model-version"] == "v1" and answer.headers["x-model-digest"] == "v1" * 8
    assert served.models["v1"].said == [(16000, "en")] * 2


def test_takes_the_audio_itself_as_the_body(served: Served) -> None:
    answer = asking.post(
        served.url + "/api/predict?itn=1", content=wav(1), headers={"content-type": "audio/wav; codecs=1"}
    )
    assert answer.json()["result"] == "v1+itn"


@pytest.mark.parametrize(
    ("clip", "status", "code"),
    [
        (b"", 400, "empty_audio"),
        (b"this is no audio at all, only text", 415, "unsupported_audio"),
        (wav(1)[:20], 400, None),
        (wav(1)[:44], 400, "empty_audio"),
        (wav(11), 413, "audio_too_long"),
        (wav(14), 413, "upload_too_large"),
        (wav(1).replace((16000).to_bytes(4, "little"), bytes(4)), 400, None),
    ],
    ids=["empty", "text", "half a header", "a header alone", "too long", "too large", "0 Hz"],
)
def test_bad_audio_is_the_clients_mistake_and_stops_nothing(
    served: Served, clip: bytes, status: int, code: str | None
) -> None:
    answer = post(served, clip)
    assert 400 <= answer.status_code < 500
    assert (answer.status_code, error_of(answer)["code"]) == (status, code or error_of(answer)["code"])
    assert answer.headers["x-model-version"] == "v1"
    assert post(served, wav(1)).status_code == 200
    assert served.counters.errors == 0


@pytest.mark.parametrize(
    ("request_options", "status", "code"),
    [
        ({"files": {"sound": wav(1)}}, 400, "missing_audio"),
        ({"files": [("audio", wav(1)), ("audio", wav(1))]}, 400, "bad_form"),
        ({"files": {"audio": wav(1)}, "data": {"language": "klingon"}}, 400, "unknown_language"),
        ({"files": {"audio": wav(1)}, "data": {"itn": "perhaps"}}, 400, "bad_boolean"),
        ({"files": {"audio": wav(1)}, "data": {"language": "y" * 5000}}, 400, "bad_form"),
        ({"files": {"audio": wav(1)}, "data": {"x" * 200: "y"}}, 400, "bad_form"),
        ({"files": {"audio": wav(1)}, "data": {f"f{i}": "y" for i in range(40)}}, 400, "bad_form"),
        ({"data": {"audio": "x"}}, 415, "unsupported_type"),
        ({"json": {"audio": "x"}}, 415, "unsupported_type"),
        ({"content": b"", "headers": {"content-type": "audio/wav"}}, 400, "empty_audio"),
        ({}, 415, "unsupported_type"),
        ({"content": b"x", "headers": {"content-type": "multipart/form-data"}}, 400, "bad_form"),
        ({"content": b"x", "headers": {"content-type": "multipart/form-data; boundary=b"}}, 400, "bad_form"),
        ({"content": b"--b\r\n", "headers": {"content-type": "multipart/form-data; boundary=b"}}, 400, "bad_form"),
        ({"content": b"x", "headers": {"content-type": "audio/wav", "content-encoding": "gzip"}}, 415, None),
        ({"content": b"x", "headers": {"content-type": f'audio/wav; a="{";" * 3000}"'}}, 415, "unsupported_type"),
        ({"files": {"audio": ("x" * 3000, wav(1))}}, 400, "bad_form"),
    ],
)
def test_bad_requests_are_answered_with_their_mistake(
    served: Served, request_options: dict[str, Any], status: int, code: str | None
) -> None:
    answer = asking.post(served.url + "/api/predict", **request_options)
    assert (answer.status_code, error_of(answer)["code"]) == (status, code or error_of(answer)["code"])
    assert post(served, wav(1)).status_code == 200


def test_counts_an_upload_without_announced_length(served: Served) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(100):
            yield bytes(50_000)

    answer = asking.post(served.url + "/api/predict", content=endless(), headers={"content-type": "audio/wav"})
    assert (answer.status_code, error_of(answer)["code"]) == (413, "upload_too_large")


def test_uploads_together_are_bounded_and_a_slow_one_makes_room_for_one_that_comes(served: Served) -> None:
    head = b"POST /api/predict HTTP/1.1\r\nHost: x\r\nContent-Type: audio/wav\r\nContent-Length: 399999\r\n\r\n"
    slow = [socket.create_connection(("127.0.0.1", served.port), timeout=PATIENCE_SECONDS) for _ in range(2)]
    for upload in slow:
        upload.sendall(head + bytes(390_000))
    eventually(lambda: served.uploads.bytes == 780_000)

    def answered() -> bool:
        answer = post(served, wav(2))
        if answer.status_code != 200:
            assert (answer.status_code, error_of(answer)["code"]) == (503, "busy")
            assert answer.headers["retry-after"] == "1"
        assert served.uploads.bytes <= 800_000
        return answer.status_code == 200

    eventually(answered)
    eventually(lambda: served.uploads.bytes == 390_000)
    ended = [upload for upload in slow if select.select([upload], [], [], 0)[0]]
    assert len(ended) == 1 and ended[0].recv(65536).startswith(b"HTTP/1.1 408 ")
    for upload in slow:
        upload.close()
    eventually(lambda: served.uploads.bytes == 0)


def test_says_come_again_when_no_model_is_loaded(tmp_path: Path) -> None:
    with serving(tmp_path, version="") as served:
        answer = post(served, wav(1))
        assert (answer.status_code, error_of(answer)["code"]) == (503, "no_model")
        assert answer.headers["retry-after"] == "1" and "x-model-version" not in answer.headers


def test_says_come_again_when_the_queue_is_full(tmp_path: Path) -> None:
    with serving(tmp_path, queue=2) as served:
        model = served.models["v1"]
        model.go.clear()
        asked = [Asking(lambda: post(served, wav(1))) for _ in range(3)]
        eventually(lambda: served.work.load == 3)
        refused = post(served, wav(1))
        assert (refused.status_code, error_of(refused)["code"]) == (503, "busy")
        assert refused.headers["retry-after"] == "1"
        assert asking.get(served.url + "/health").status_code == 200
        model.go.set()
        assert [a.answer().status_code for a in asked] == [200] * 3


def test_a_long_clip_is_answered_by_the_version_it_began_with(served: Served) -> None:
    old = served.models["v1"]
    old.go.clear()
    asked = Asking(lambda: post(served, wav(6)))
    eventually(lambda: served.work.load == 1)
    new = served.swap("v2")
    old.go.set()
    answer = asked.answer()
    assert answer.json()["result"] == " ".join(["v1"] * 6) and answer.json()["version"] == "v1"
    assert answer.headers["x-model-version"] == "v1"
    assert new.said == []
    assert post(served, wav(1)).json()["result"] == "v2"


def test_short_requests_pass_between_the_pieces_of_a_long_clip(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        model = served.models["v1"]
        model.go.clear()
        long = Asking(lambda: post(served, wav(30)))
        eventually(lambda: served.work.load == 1)
        short = Asking(lambda: post(served, wav(0.5)))
        eventually(lambda: served.work.load == 2 and served.work.waiting == 1)
        model.go.set()
        assert short.answer().status_code == long.answer().status_code == 200
        lengths = [length for length, _ in model.said]
        assert lengths.index(8000) == 1, "the short clip waited for one piece, not for thirty"


def test_gives_up_after_the_request_time_and_ends_the_run(tmp_path: Path) -> None:
    with serving(tmp_path, request_timeout_seconds=0.3) as served:
        model = served.models["v1"]
        model.go.clear()
        answer = post(served, wav(1))
        assert (answer.status_code, error_of(answer)["code"]) == (504, "timeout")
        eventually(lambda: model.terminated == 1)
        model.go.set()
        assert post(served, wav(1)).status_code == 200


def test_stops_working_for_a_client_that_left(served: Served) -> None:
    model = served.models["v1"]
    model.go.clear()
    with pytest.raises(httpx.ReadTimeout):
        post(served, wav(5), timeout=0.3)
    eventually(lambda: model.terminated == 1)
    eventually(lambda: served.work.load == 0)
    model.go.set()
    assert post(served, wav(1)).status_code == 200
    assert len(model.said) == 1
    eventually(lambda: '"status":499' in (served.directory / "access.log").read_text())
    assert served.counters.errors == 0


def test_a_failing_model_is_a_500_that_counts(served: Served) -> None:
    served.models["v1"].fails = True
    answer = post(served, wav(1))
    assert (answer.status_code, error_of(answer)["code"]) == (500, "model_failed")
    assert "graph is wrong" not in answer.text
    assert "graph is wrong" in (served.directory / "error.log").read_text()
    assert served.call(served.counters.beat).errors == 1
    served.models["v1"].fails = False
    assert post(served, wav(1)).status_code == 200


def test_nothing_of_an_upload_reaches_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(tmp_path, max_upload_bytes=4_000_000, max_audio_seconds=100.0) as served:
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))  # where no file can be made
        assert post(served, wav(60)).status_code == 200  # twice what forms are usually kept in memory


def test_answers_an_early_refusal_although_the_body_is_still_coming(served: Served) -> None:
    head = b"POST /api/predict HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 300000\r\n\r\n"
    answer = raw(served, head + bytes(300_000) + b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 415 ") and b"HTTP/1.1 200 OK" in answer
