"""Jobs of a whole daemon: an hour of audio through kill -9 of everything, callbacks, expiry, the disk class, alerts."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests import asking
from tests.fakes.receivers import Reply, fake_receiver
from tests.house import House
from tests.support import eventually
from tests.system.conftest import Build
from tests.versions import good_version
from tests.worker.jobs.recordings import accepted, at_end, heard, recording, said, seen, send

pytestmark = pytest.mark.system

HOUR_TIMES = 34
"""So many times the demo's long clip are an hour and a minute."""


def built(build: Build, **settings: dict[str, object]) -> House:
    house = build(**{"disk": {"min_free": 0, "target_free": 0}, **settings})
    good_version(house.models, "dtmf-v1.0")
    house.start()
    house.await_serving("dtmf-v1.0")
    return house


def asked(house: House) -> httpx.Client:
    return asking.client(base_url=f"http://127.0.0.1:{house.port}")


def pieces(house: House, job: str) -> int:
    try:
        return (house.root / "state" / "jobs" / job / "pieces").read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0


def kill_everything(house: House) -> None:
    """SIGKILL to the daemon, and to every process that works for it."""
    house.kill()
    while pids := house.worker_pids():
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        eventually(lambda before=pids: not set(before) & set(house.worker_pids()))


def test_an_hour_survives_kill_9_of_everything_and_loses_a_piece_each_time_at_most(build: Build) -> None:
    house = built(build, workers={"count": 2, "max_upload": "256MiB", "max_audio": "2h"})
    with asked(house) as client:
        job = accepted(client, recording(HOUR_TIMES), response_format="verbose_json")
    for share in (0.2, 0.5, 0.8):
        total = 17 * HOUR_TIMES
        eventually(lambda least=share * total: pieces(house, job) >= least)
        kill_everything(house)
        before = (house.root / "state" / "jobs" / job / "pieces").read_bytes()
        done_before = before.count(b"\n")
        house.start()
        eventually(lambda least=done_before: pieces(house, job) > least)
        now = (house.root / "state" / "jobs" / job / "pieces").read_bytes()
        assert now.startswith(before[: before.rindex(b"\n") + 1]), "a piece that was done is done again"
    with asked(house) as client:
        done = at_end(client, job)
        assert done["state"] == "done" and heard(done["text"]) == said(HOUR_TIMES)
        assert done["duration"] > 3600 and [part["version"] for part in done["versions"]] == ["dtmf-v1.0"]
        starts = [segment["start"] for segment in done["result"]["segments"]]
        assert starts == sorted(starts) and len(starts) == len(set(starts))


def test_requests_are_answered_while_jobs_run_and_a_swap_in_the_middle_is_told(build: Build) -> None:
    house = built(build)
    with asked(house) as client:
        job = accepted(client, recording(8))
        eventually(lambda: seen(client, job)["progress"] > 0)
        good_version(house.models, "dtmf-v1.1", words=True)
        house.await_serving("dtmf-v1.1")
        again = accepted(client, recording(1))
        with house.load(clients=2) as load:
            done = at_end(client, again)
        assert not load.failures and done["state"] == "done"
        versions = {part["version"] for part in at_end(client, job)["versions"]}
        assert versions <= {"dtmf-v1.0", "dtmf-v1.1"} and at_end(client, job)["state"] == "done"


def test_the_end_is_reported_once_the_receiver_takes_it(build: Build) -> None:
    with fake_receiver(Reply(500), Reply(200)) as receiver:
        url = f"http://127.0.0.1:{receiver.port}/done"
        house = built(build, jobs={"callbacks": [url]})
        with asked(house) as client:
            assert send(client, recording(1), callback="http://127.0.0.1:1/").status_code == 400
            job = accepted(client, recording(1), callback=url + "?mine=1", response_format="text")
            eventually(lambda: len(receiver.posts) >= 2)
        bodies: list[dict[str, Any]] = [post.json for post in receiver.posts]
        assert {body["id"] for body in bodies} == {job} and bodies[-1]["state"] == "done"
        assert heard(bodies[-1]["result"]) == said(1) and receiver.posts[0].path == "/done?mine=1"
        record = house.root / "state" / "jobs" / job / "callback.json"
        eventually(lambda: record.exists() and b"delivered" in record.read_bytes())


def test_jobs_are_counted_shown_as_a_class_of_the_disk_and_never_swept(build: Build) -> None:
    house = built(build, disk={"min_age": 0, "min_free": "100%", "target_free": "100%"})
    jobs = house.root / "state" / "jobs"
    with asked(house) as client:
        assert send(client, recording(1)).status_code == 507
        house.configure(disk={"min_age": 0, "min_free": 0, "target_free": 0})
        house.command("reload")
        job = accepted(client, recording(1))
        assert at_end(client, job)["state"] == "done"
        house.configure(disk={"min_age": 0, "min_free": "100%", "target_free": "100%"})
        house.command("reload")
        house.command("sweep")
        assert seen(client, job)["state"] == "done" and (jobs / job / "answer").exists()
    rows = {row["class"]: row for row in house.api.get("/v1/disk").data["classes"]}
    assert rows["jobs"]["files"] >= 3


def test_a_job_that_ended_goes_after_jobs_keep(build: Build, tmp_path: Path) -> None:
    house = built(build)
    with asked(house) as client:
        job = accepted(client, recording(1))
        at_end(client, job)
    outcome = house.root / "state" / "jobs" / job / "outcome.json"
    text = outcome.read_text().replace('"finished":1', '"finished":')  # some decades ago
    (tmp_path / "outcome.json").write_text(text)
    (tmp_path / "outcome.json").replace(outcome)
    house.stop()
    house.start()
    eventually(lambda: not outcome.parent.exists())
