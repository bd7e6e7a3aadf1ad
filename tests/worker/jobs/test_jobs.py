"""Long recordings without a held connection: a real worker, its disk, and what is left when it is killed."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
from tests.support import eventually
from tests.worker.jobs.recordings import accepted, at_end, heard, recording, said, seen, send
from tests.worker.running import Worker, clip, digits, worker

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    directory = tmp_path_factory.mktemp("jobs")
    (directory / "jobs").mkdir()
    with worker(directory, digits(), jobs_dir=str(directory / "jobs")) as running:
        yield running


@pytest.fixture
def client(running: Worker) -> httpx.Client:
    return running.client()


def test_a_job_is_accepted_with_its_place_and_ends_with_the_answer_of_the_other_route(
    running: Worker, client: httpx.Client
) -> None:
    answer = send(client, recording(1), response_format="verbose_json")
    assert answer.status_code == 202
    job = answer.json()
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}" and job["state"] == "queued"
    done = at_end(client, job["id"])
    direct = client.post(
        "/v1/audio/transcriptions", files={"file": ("a.wav", recording(1))}, data={"response_format": "verbose_json"}
    )
    assert done["state"] == "done" and done["progress"] == 1.0 and done["result"] == direct.json()
    assert heard(done["text"]) == said(1)
    assert [(v["version"], v["start"]) for v in done["versions"]] == [("dtmf-v1.0", done["versions"][0]["start"])]
    alone = client.get(f"/v1/jobs/{job['id']}/result")
    assert alone.json() == done["result"] and alone.headers["content-type"] == "application/json"


@pytest.mark.parametrize("form", ["json", "text", "srt", "vtt"])
def test_the_result_has_the_format_that_was_asked_for(client: httpx.Client, form: str) -> None:
    job = accepted(client, recording(1), response_format=form)
    result = at_end(client, job)["result"]
    direct = client.post(
        "/v1/audio/transcriptions", files={"file": ("a.wav", recording(1))}, data={"response_format": form}
    )
    alone = client.get(f"/v1/jobs/{job}/result")
    assert alone.content == direct.content and alone.headers["content-type"] == direct.headers["content-type"]
    assert result == (direct.json() if form == "json" else direct.text)


def test_the_format_predict_gives_the_answer_of_that_route(client: httpx.Client) -> None:
    result = at_end(client, accepted(client, recording(1), response_format="predict", itn="false"))["result"]
    direct = client.post("/api/predict", files={"audio": ("a.wav", recording(1))}).json()
    assert {name: result[name] for name in direct} == direct


def test_a_job_takes_channels_apart_reads_sound_by_its_type_and_says_what_is_missing(client: httpx.Client) -> None:
    sound = np.frombuffer(clip("5551234")[44:], "<i2")
    call = np.stack(
        [np.append(sound, np.zeros(80_000, np.int16)), np.append(np.zeros(80_000, np.int16), sound)], axis=1
    )
    files = {"file": ("call", call.tobytes(), "audio/pcm;rate=16000;channels=2")}
    form = {"channels": "split", "response_format": "predict"}
    taken = client.post("/v1/jobs", files=files, data=form)
    assert taken.status_code == 202, taken.text
    result = at_end(client, taken.json()["id"])["result"]
    assert [(s["channel"], heard(s["text"])) for s in result["segments"]] == [(0, "5551234"), (1, "5551234")]
    assert "truncated" not in result


def test_every_format_of_a_job_says_that_the_end_of_its_recording_is_missing(client: httpx.Client) -> None:
    half = recording(1)[: len(recording(1)) // 2]
    for form in ("json", "text", "srt", "vtt"):
        job = at_end(client, accepted(client, half, response_format=form))
        assert job["truncated"] is True and said(1).startswith(heard(job["text"])[:20])
        alone = client.get(f"/v1/jobs/{job['id']}/result")
        told = alone.json()["truncated"] if form == "json" else alone.headers.get("x-audio-truncated") == "true"
        assert told is True, form
    assert "truncated" not in at_end(client, accepted(client, recording(1)))


def test_what_could_never_be_done_is_refused_and_nothing_is_kept(running: Worker, client: httpx.Client) -> None:
    kept = sorted((running.logs.parent / "jobs").iterdir())
    for fields, code in (
        ({"response_format": "pdf"}, "bad_value"),
        ({"language": "xx"}, "unknown_language"),
        ({"model": "gpt-9"}, "model_not_found"),
        ({"stream": "true"}, "bad_value"),
        ({"channels": "both"}, "bad_value"),
        ({"callback": "https://example.com/"}, "callback_refused"),
    ):
        answer = send(client, recording(1), **fields)
        assert (answer.status_code in (400, 404), answer.json()["error"]["code"]) == (True, code)
    assert send(client, b"<html>" + bytes(2000)).status_code == 415
    assert send(client, b"").json()["error"]["code"] == "empty_audio"
    assert client.post("/v1/jobs", data={"model": "whisper-1"}, files={"other": b"x"}).status_code == 400
    assert sorted((running.logs.parent / "jobs").iterdir()) == kept


@pytest.mark.parametrize(
    "name", ["job_" + "0" * 32, "..", "%2e%2e", "job_" + "0" * 31, "job_" + "g" * 32, ".lock", "x" * 4000]
)
def test_a_job_that_is_not_there_is_404(client: httpx.Client, name: str) -> None:
    for path in (f"/v1/jobs/{name}", f"/v1/jobs/{name}/result"):
        assert client.get(path).status_code == 404
    assert client.delete(f"/v1/jobs/{name}").status_code in (404, 405)


def test_where_no_token_is_asked_for_jobs_are_not_listed(client: httpx.Client) -> None:
    answer = client.get("/v1/jobs")
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "no_owner")


def test_damaged_audio_fails_the_job_with_the_reason(client: httpx.Client) -> None:
    job = at_end(client, accepted(client, b"OggS" + bytes(5000)))
    assert job["state"] == "failed" and job["error"]["code"] in ("damaged_audio", "unsupported_audio")
    answer = client.get(f"/v1/jobs/{job['id']}/result")
    assert answer.status_code == 409 and answer.json()["error"]["code"] == "job_failed"


def test_a_job_that_ended_is_removed_by_its_client(running: Worker, client: httpx.Client) -> None:
    job = accepted(client, recording(1))
    at_end(client, job)
    assert client.delete(f"/v1/jobs/{job}").json() == {"id": job, "object": "job", "state": "deleted"}
    assert client.get(f"/v1/jobs/{job}").status_code == 404 and client.delete(f"/v1/jobs/{job}").status_code == 404
    assert not (running.logs.parent / "jobs" / job).exists()


@pytest.mark.parametrize("ended", [True, False])
def test_a_job_that_several_remove_at_once_is_gone_for_each_of_them(
    running: Worker, client: httpx.Client, ended: bool
) -> None:
    job = accepted(client, recording(1))
    if ended:
        at_end(client, job)
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda _: client.delete(f"/v1/jobs/{job}"), range(8)))
    assert {answer.status_code for answer in answers} <= {200, 404}
    states = [answer.json()["state"] for answer in answers if answer.status_code == 200]
    assert states and set(states) <= {"deleted", "cancelled"}
    client.delete(f"/v1/jobs/{job}")
    assert client.get(f"/v1/jobs/{job}").status_code == 404
    eventually(lambda: not any(job in path.name for path in (running.logs.parent / "jobs").iterdir()))


def test_the_recording_goes_when_the_job_ends(running: Worker, client: httpx.Client) -> None:
    job = accepted(client, recording(1))
    at_end(client, job)
    eventually(
        lambda: (
            {path.name for path in (running.logs.parent / "jobs" / job).iterdir()}
            == {"job.json", "outcome.json", "answer"}
        )
    )


def test_cancelled_jobs_stay_cancelled_and_the_next_one_is_begun(tmp_path: Path) -> None:
    (tmp_path / "jobs").mkdir()
    with worker(tmp_path, digits(), jobs_dir=str(tmp_path / "jobs")) as running:
        client = running.client()
        first, second, third = (accepted(client, recording(8)) for _ in range(3))
        eventually(lambda: seen(client, first)["progress"] > 0)
        waiting = seen(client, third)
        assert waiting["state"] == "queued" and waiting["position"] == 2
        for job in (first, second):
            assert client.delete(f"/v1/jobs/{job}").json()["state"] == "cancelled"
        assert seen(client, second)["state"] == "cancelled"
        assert heard(at_end(client, third)["text"]) == said(8)
        assert seen(client, first)["state"] == "cancelled"
        eventually(lambda: not (tmp_path / "jobs" / first / "audio").exists())


def test_a_job_goes_on_after_kill_9_and_loses_the_piece_in_hand_at_most(tmp_path: Path) -> None:
    (tmp_path / "jobs").mkdir()
    pieces = tmp_path / "jobs"
    with worker(tmp_path, digits(), jobs_dir=str(pieces), run="one") as running:
        job = accepted(running.client(), recording(8))
        eventually(lambda: (pieces / job / "pieces").exists() and _lines(pieces / job) > 8)
        running.end(signal.SIGKILL)
    done = (pieces / job / "pieces").read_bytes()
    whole = done[: done.rindex(b"\n") + 1]
    with worker(tmp_path, digits(), jobs_dir=str(pieces), run="two") as running:
        client = running.client()
        eventually(lambda: _lines(pieces / job) > whole.count(b"\n") + 2)
        assert (pieces / job / "pieces").read_bytes().startswith(whole)
        ended = at_end(client, job)
    assert heard(ended["text"]) == said(8)


def test_a_worker_that_leaves_gives_its_job_back(tmp_path: Path) -> None:
    jobs = tmp_path / "jobs"
    jobs.mkdir()
    with worker(tmp_path, digits(), jobs_dir=str(jobs)) as running:
        job = accepted(running.client(), recording(16))
        eventually(lambda: (jobs / job / "pieces").exists() and _lines(jobs / job) > 4)
        assert running.end() == 0
    assert not (jobs / job / "claim.json").exists() and not (jobs / job / "outcome.json").exists()


def _lines(job: Path) -> int:
    try:
        return (job / "pieces").read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0
