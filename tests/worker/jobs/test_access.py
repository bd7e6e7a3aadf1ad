"""Who may see a job, what is refused for lack of room, and what a worker that is not alone does."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from tests.support import PATIENCE_SECONDS, eventually
from tests.worker.jobs.recordings import accepted, at_end, heard, recording, said, seen, send
from tests.worker.running import Worker, digits, words, worker

pytestmark = pytest.mark.system


@pytest.fixture
def jobs(tmp_path: Path) -> Path:
    (tmp_path / "jobs").mkdir()
    return tmp_path / "jobs"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """A worker that asks for tokens: gamma and delta are those of the test that lists jobs."""
    place = tmp_path_factory.mktemp("guarded")
    for name in ("tokens", "jobs"):
        (place / name).mkdir()
    tokens = place / "tokens" / "t"
    tokens.write_text("alpha\nbeta\ngamma\ndelta\n")
    with worker(place, digits(), jobs_dir=str(place / "jobs"), token_file=str(tokens)) as running:
        yield running


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_a_job_is_shown_to_the_token_that_brought_it_and_to_no_other(guarded: Worker) -> None:
    client, other, nobody = (
        guarded.client(headers=bearer("alpha")),
        guarded.client(headers=bearer("beta")),
        guarded.client(),
    )
    job = accepted(client, recording(1))
    assert other.get(f"/v1/jobs/{job}").status_code == other.get(f"/v1/jobs/{job}/result").status_code == 404
    assert other.delete(f"/v1/jobs/{job}").status_code == 404 and nobody.get(f"/v1/jobs/{job}").status_code == 401
    assert other.get(f"/v1/jobs/{job}").json() == other.get("/v1/jobs/job_" + "0" * 32).json()
    assert at_end(client, job)["state"] == "done" and client.delete(f"/v1/jobs/{job}").json()["state"] == "deleted"


def test_a_browser_that_signed_in_with_the_token_sees_its_jobs(guarded: Worker) -> None:
    page, other = guarded.client(), guarded.client()
    for browser, token in ((page, "alpha"), (other, "beta")):
        assert browser.post("/", data={"token": token}).status_code == 303
    job = accepted(page, recording(1))
    assert seen(page, job)["id"] == job and other.get(f"/v1/jobs/{job}").status_code == 404
    assert guarded.client(headers=bearer("alpha")).get(f"/v1/jobs/{job}").status_code == 200


def listed(client: httpx.Client, **query: str | int) -> list[str]:
    answer = client.get("/v1/jobs", params=query)
    assert answer.status_code == 200 and answer.headers["cache-control"] == "no-store", answer.text
    return [job["id"] for job in answer.json()["data"]]


def test_a_token_lists_its_own_jobs_the_newest_first_and_no_text_of_them(guarded: Worker) -> None:
    client, other, page = (
        guarded.client(headers=bearer("gamma")),
        guarded.client(headers=bearer("delta")),
        guarded.client(),
    )
    mine = [accepted(client, recording(1)) for _ in range(3)]
    theirs = accepted(other, recording(1))
    assert listed(other) == [theirs] and guarded.client().get("/v1/jobs").status_code == 401
    assert listed(client) == mine[::-1]
    first = client.get("/v1/jobs", params={"limit": 1}).json()
    assert [job["id"] for job in first["data"]] == [mine[2]] and first["has_more"]
    assert listed(client, after=mine[2], limit=1) == [mine[1]]
    assert page.post("/", data={"token": "gamma"}).status_code == 303 and mine[2] in listed(page)
    [line] = other.get("/v1/jobs").json()["data"]
    assert set(line) <= {"id", "object", "state", "created", "position", "finished", "expires"}
    for query in (
        {"limit": "0"},
        {"limit": "101"},
        {"limit": "-1"},
        {"limit": "x"},
        {"after": theirs},
        {"after": ".."},
    ):
        assert client.get("/v1/jobs", params=query).json()["error"]["code"] == "bad_value", query


def test_no_token_lies_on_the_disk(guarded: Worker) -> None:
    job = accepted(guarded.client(headers=bearer("alpha")), recording(1))
    assert b"alpha" not in (guarded.logs.parent / "jobs" / job / "job.json").read_bytes()


def test_without_room_a_job_is_refused_and_nothing_is_kept(tmp_path: Path, jobs: Path) -> None:
    with worker(tmp_path, digits(), jobs_dir=str(jobs), jobs_max_bytes=3 << 20) as running:
        answer = send(running.client(), recording(1))
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "jobs_full")
        assert "retry-after" in answer.headers and {path.name for path in jobs.iterdir()} <= {".lock"}
    with worker(tmp_path, digits(), jobs_dir=str(jobs), min_free=(0, 1.0)) as running:
        answer = send(running.client(), recording(1))
        assert (answer.status_code, answer.json()["error"]["code"]) == (507, "no_space")
        assert {path.name for path in jobs.iterdir()} <= {".lock"}


def test_a_service_without_a_place_for_jobs_says_so(tmp_path: Path) -> None:
    with worker(tmp_path, digits()) as running:
        answer = send(running.client(), recording(1))
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "no_jobs")


def test_any_worker_is_asked_about_any_job_and_another_goes_on_with_a_dead_one_s(tmp_path: Path, jobs: Path) -> None:
    with (
        worker(tmp_path / "a", digits(), jobs_dir=str(jobs), run="r") as one,
        worker(tmp_path / "b", digits(), jobs_dir=str(jobs), run="r", name="w2") as two,
    ):
        first, second = one.client(), two.client()
        job = accepted(first, recording(8))
        eventually(lambda: seen(second, job)["progress"] > 0)
        holder, left = (one, second) if '"w1"' in (jobs / job / "claim.json").read_text() else (two, first)
        holder.end(signal.SIGKILL)
        ended = at_end(left, job)
        assert ended["state"] == "done" and heard(ended["text"]) == said(8)


def test_a_swap_in_the_middle_is_told_by_parts(tmp_path: Path, jobs: Path) -> None:
    with worker(tmp_path / "a", digits(), jobs_dir=str(jobs)) as running:
        client = running.client()
        job = accepted(client, recording(8), model="dtmf-v1.0")  # a name that the next version does not have
        eventually(lambda: seen(client, job)["progress"] > 0.1)
        running.end()
    with worker(tmp_path / "b", words(), jobs_dir=str(jobs)) as running:
        ended = at_end(running.client(), job)
    versions = [part["version"] for part in ended["versions"]]
    assert versions == ["dtmf-v1.0", "dtmf-v1.1"]
    first, second = ended["versions"]
    assert first["start"] < first["end"] <= second["start"] < second["end"] <= ended["duration"]
    assert "2025550147" in ended["text"] and "seven" in ended["text"]


@pytest.mark.parametrize("part", ["", "/result"])
def test_results_that_nobody_reads_are_bounded(tmp_path: Path, jobs: Path, part: str) -> None:
    with worker(tmp_path, digits(), jobs_dir=str(jobs), max_upload_bytes=4 << 20) as running, ExitStack() as stack:
        job = accepted(running.client(), recording(1), response_format="text")
        assert at_end(running.client(), job)["state"] == "done"
        (jobs / job / "answer").write_bytes(b"a" * (12 << 20))
        statuses = []
        for _ in range(4):
            connection = stack.enter_context(socket.socket())
            connection.settimeout(PATIENCE_SECONDS)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect(running.listener.getsockname())
            connection.sendall(f"GET /v1/jobs/{job}{part} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            statuses.append(connection.recv(12)[9:])
        assert statuses[0] == b"200" and b"503" in statuses
