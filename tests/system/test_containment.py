"""Whatever part of the daemon fails, in whatever way: requests are answered, an alert says so, the part recovers."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from tests.house import House, free_port
from tests.support import PATIENCE_SECONDS, eventually
from tests.system.conftest import Build
from tests.versions import good_version

from modelward.daemon.controllers import parts as controllers
from modelward.daemon.errors import ModelwardError
from modelward.daemon.system.background import READER

pytestmark = pytest.mark.system
OLD, NEW = "dtmf-v1.0", "dtmf-v1.1"


def faulty(build: Build, notes: Path, **settings: dict[str, object]) -> House:
    house = build(**settings)
    notes.mkdir()
    house.module = ("tests.faulty_daemon", str(notes))
    good_version(house.models, OLD)
    return house


def failed(house: House, *states: str) -> set[str]:
    """The parts with an alert in one of these states; in any without."""
    alerts: list[dict[str, Any]] = house.api.get("/v1/alerts").data["alerts"]
    return {a["subject"] for a in alerts if a["name"] == "controller_failed" and (not states or a["state"] in states)}


def watch_the_panel(port: int) -> None:
    """One viewer, until it has seen something."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)) as viewer:
        viewer.request("GET", "/live")
        assert b"snapshot" in viewer.getresponse().read(2000)


def activated(house: House, version: str) -> bool:
    """Whether it serves. An operator asks for it, and so it is judged without the pauses between judgements."""
    with contextlib.suppress(ModelwardError):
        house.api.post("/v1/activate", {"version": version})
    return house.serves(version)


def live_through_much(house: House, panel_port: int) -> None:
    """What may happen to a daemon, so that each of its parts has something to do."""
    assert house.process is not None
    good_version(house.models, NEW)
    eventually(lambda: activated(house, NEW))
    for _ in range(2):  # the first of each fails
        for number in (signal.SIGHUP, signal.SIGUSR1):
            house.process.send_signal(number)
            eventually(lambda: house.serves(NEW))
        house.api.post("/v1/rotate", {"force": True})
        with contextlib.suppress(ModelwardError):  # it may be the one that fails
            house.api.post("/v1/sweep", {"dry_run": True})
        watch_the_panel(panel_port)
        house.process.send_signal(signal.SIGUSR2)
        eventually(lambda: house.serves(NEW))


def test_each_part_fails_once_and_no_request_does(build: Build, tmp_path: Path) -> None:
    notes, port = tmp_path / "notes", free_port()
    house = faulty(
        build,
        notes,
        panel={"listen": f"127.0.0.1:{port}", "token_file": "none"},
        validation={"compile": "exact"},
        disk={"check": 1},
        monitor={"interval": 1},
    )
    house.start()
    eventually(lambda: activated(house, OLD))
    with house.load(2) as load:
        live_through_much(house, port)
    assert load.failures == []
    os.kill(house.worker_pids()[0], signal.SIGKILL)
    parts = [part.name for part in controllers._Part.__subclasses__()]
    wanted = {name for part in parts for name in (part, f"{part}.next_due")}

    def raised() -> set[str]:
        return set((notes / "raised").read_text().splitlines())

    eventually(lambda: raised() >= wanted)
    missing: set[str] = set()

    def all_reported() -> bool:
        nonlocal missing
        missing = {name for name in raised() if not name.startswith(READER)} - failed(house)
        return not missing

    with contextlib.suppress(AssertionError):
        eventually(all_reported)
    assert not missing, (notes / "raised").read_text()
    eventually(lambda: house.serves(NEW) and not failed(house, "firing", "pending"))
    assert len(raised()) > len(wanted) + 12, "tasks, callbacks and readers beside the controllers"
    assert house.stop() == 0
    assert raised() >= {f"{part}.stop" for part in parts}
    eventually(lambda: not house.worker_pids())


def test_an_error_that_escapes_the_loop_leaves_the_workers_serving(build: Build, tmp_path: Path) -> None:
    house = faulty(build, tmp_path / "notes")
    (tmp_path / "notes" / "calm").touch()
    house.start(OLD)
    workers = sorted(house.worker_pids())
    with house.load(2) as load:
        (tmp_path / "notes" / "escape").touch()
        os.rename(house.models / OLD, house.models / "dtmf-v0.9")  # a reason for a round
        assert house.process is not None
        assert house.process.wait(PATIENCE_SECONDS) == 1
        assert house.transcribe()[0] == 200
        (tmp_path / "notes" / "escape").unlink()
        os.rename(house.models / "dtmf-v0.9", house.models / OLD)
        house.start(OLD)
    assert load.failures == []
    assert sorted(house.worker_pids()) == workers
    assert any("the daemon ends by an error" in str(event) for event in house.events())
