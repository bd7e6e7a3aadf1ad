"""Workers confine themselves outside systemd too, tell so, and are replaced where that would stand in their way."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.house import House
from tests.support import eventually
from tests.system.conftest import Build
from tests.versions import good_version
from tests.worker.sandbox.test_landlock import landlock_abi

pytestmark = pytest.mark.system

VERSION = "dtmf-v1.0"


@pytest.fixture
def town(build: Build) -> House:
    house = build()
    good_version(house.models, VERSION)
    return house.start(VERSION)


def _fact(pid: int, name: str) -> str:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line.split(":", 1)[1].strip() for line in lines if line.startswith(f"{name}:"))


def test_every_worker_gives_up_what_it_does_not_need_and_the_list_shows_it(town: House) -> None:
    workers = town.workers()
    assert [(_fact(w["pid"], "NoNewPrivs"), _fact(w["pid"], "Seccomp")) for w in workers] == [("1", "2")] * 2
    holds = {w["confinement"].split(";")[0] for w in workers}
    assert holds == {"no new privileges, landlock, seccomp" if landlock_abi() else "no new privileges, seccomp"}


def test_a_log_directory_that_was_made_anew_is_written_to_again(town: House) -> None:
    if not landlock_abi():
        pytest.skip("this kernel has no Landlock")
    before = {w["pid"] for w in town.workers()}
    town.log_dir.rename(town.root / "old-log")
    town.log_dir.mkdir(mode=0o750)
    eventually(lambda: len(town.workers()) == 2 and not before & {w["pid"] for w in town.workers()})
    town.await_serving(VERSION)
    assert town.transcribe()[0] == 200
    eventually(lambda: (town.log_dir / "access.log").read_text().count("/api/predict") == 1)
