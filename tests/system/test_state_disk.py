"""The disk of the state is full, read-only or without inodes: the daemon starts, serves, reports it, loses nothing."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.house import House
from tests.small_disk import SmallDisk, small_disk
from tests.support import eventually
from tests.system.conftest import Build
from tests.versions import good_version

pytestmark = pytest.mark.system
FIRST, SECOND = "dtmf-v1.0", "dtmf-v1.1"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "small") as disk:
        yield disk


@pytest.fixture
def empty(build: Build, disk: SmallDisk) -> House:
    """Not started. Its state is on the small disk, and so are uploads, of which a sweep leaves one file."""
    uploads = {"name": "uploads", "path": str(disk.place / "uploads"), "max_files": 1}
    house = build(
        workers={"count": 1},
        control={"state_dir": str(disk.place / "state")},
        disk={"check": "1h", "min_age": 0, "min_free": "0%", "target_free": "0%", "class": [uploads]},
    )
    house.prefix = disk.prefix
    disk.inside("uploads").mkdir()
    return house


@pytest.fixture
def town(empty: House) -> House:
    """Serves FIRST."""
    good_version(empty.models, FIRST)
    return empty.start(FIRST)


def end_all(house: House) -> None:
    """A power cut: neither daemon nor workers are left."""
    house.kill()
    for pid in house.worker_pids():
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: not house.worker_pids())


def in_memory(house: House) -> str:
    """What the alert says, "" when there is none."""
    return next((a["message"] for a in house.status()["alerts"] if a["metric"] == "state_in_memory"), "")


def kinds(house: House) -> list[str]:
    """What happened, oldest first."""
    return [entry["kind"] for entry in reversed(house.history())]


def once_judged(house: House, version: str) -> bool:
    return [e["version"] for e in house.history("accepted")].count(version) == 1


def known(house: House) -> list[dict[str, Any]]:
    """History without what a start adds."""
    return [e for e in house.history() if e["kind"] not in ("start", "daemon-started", "state-kept")]


def test_on_a_full_disk_it_sweeps_first_and_serves_and_writes_the_state(town: House, disk: SmallDisk) -> None:
    end_all(town)
    for number in range(4):
        disk.inside(f"uploads/{number}.wav").write_bytes(bytes(300_000))
    disk.fill("uploads/last.wav")
    town.start(FIRST)
    events = [e["event"] for e in town.events()]
    last = len(events) - events[::-1].index("no room for the daemon's own files; sweeping first")
    assert "listening" in events[last:]
    assert kinds(town)[-4:].count("daemon-started") == 1
    assert len(list(disk.inside("uploads").iterdir())) == 1
    eventually(lambda: not in_memory(town))
    assert once_judged(town, FIRST)
    end_all(town)
    town.start(FIRST)
    assert "sweep" in kinds(town)
    assert once_judged(town, FIRST)


def _what_helps(fault: str, disk: SmallDisk) -> str:
    file = disk.place / "state" / "state.db"
    sweep = "`modelward disk` shows what takes it, `modelward sweep` removes what may go"
    words = {
        "full": f"no space left on the disk of {disk.place}; {sweep}",
        "without inodes": f"no inodes left on the disk of {disk.place}; {sweep}",
        "read-only": f"the file system is read-only; mount -o remount,rw {disk.place}",
    }
    return f"the state is kept in memory alone: cannot write {file}: {words[fault]}"


def _break(disk: SmallDisk, fault: str) -> None:
    if fault == "read-only":
        disk.remount("ro")
    elif fault == "full":
        disk.fill()
    else:
        disk.remount("nr_inodes=10")
        for number in range(20):
            try:
                disk.inside(f"empty-{number}").touch()
            except OSError:
                return


def _mend(disk: SmallDisk, fault: str) -> None:
    disk.remount("rw" if fault == "read-only" else "nr_inodes=1000")
    disk.inside("ballast").unlink(missing_ok=True)


# No disk is mounted read-only under a file that is open for writing, and the files that SQLite keeps beside its own are
# there until it is closed: no inode is missing before.
@pytest.mark.parametrize(
    ("fault", "ended"),
    [("full", "killed"), ("full", "running"), ("read-only", "stopped"), ("without inodes", "stopped")],
)
def test_it_serves_without_judging_again_and_writes_later_what_happened_meanwhile(
    town: House, disk: SmallDisk, fault: str, ended: str
) -> None:
    if ended == "killed":
        end_all(town)
    elif ended == "stopped":
        assert town.stop() == 0
    _break(disk, fault)
    if ended != "running":
        town.start(FIRST)
    assert once_judged(town, FIRST)
    good_version(town.models, SECOND)
    town.await_serving(SECOND)
    eventually(lambda: in_memory(town) == _what_helps(fault, disk))
    assert in_memory(town) in town.cli("status").stdout
    held = town.cli("hold", FIRST)
    assert held.returncode == 0
    assert "kept in memory alone" in held.stdout
    assert "sweeping first" not in str(town.events()) or fault != "read-only"
    _mend(disk, fault)
    eventually(lambda: not in_memory(town))
    assert town.history("alert-resolved")
    before = known(town)
    end_all(town)
    town.start(SECOND)
    assert known(town)[-len(before) :] == before
    assert len({e["id"] for e in town.history()}) == len(town.history())
    assert town.version(FIRST)["held"]
    assert once_judged(town, FIRST)
    assert once_judged(town, SECOND)
    assert not in_memory(town)


def test_without_inodes_for_its_sockets_it_sweeps_first_and_serves(build: Build, disk: SmallDisk) -> None:
    uploads = {"name": "uploads", "path": str(disk.place / "uploads"), "max_files": 1}
    house = build(
        workers={"count": 1},
        control={"runtime_dir": str(disk.place / "run"), "state_dir": str(disk.place / "state")},
        disk={"check": "1h", "min_age": 0, "min_free": "0%", "target_free": "0%", "class": [uploads]},
    )
    house.prefix = disk.prefix
    for name in ("run", "state", "uploads"):
        disk.inside(name).mkdir(mode=0o750)
    (house.root / "run").symlink_to(disk.inside("run"))
    good_version(house.models, FIRST)
    for number in range(20):
        disk.inside(f"uploads/{number}").touch()
    disk.remount("nr_inodes=24")
    house.start(FIRST)
    assert "no room for the daemon's own files; sweeping first" in [e["event"] for e in house.events()]
    eventually(lambda: not in_memory(house))


def test_a_first_start_on_a_full_disk_serves_and_makes_its_files_when_there_is_room(
    build: Build, disk: SmallDisk
) -> None:
    house = build(
        workers={"count": 1},
        control={"state_dir": str(disk.place / "state")},
        panel={"listen": "127.0.0.1:0"},
    )
    house.prefix = disk.prefix
    good_version(house.models, FIRST)
    ballast = disk.fill()
    house.start(FIRST)
    eventually(lambda: in_memory(house) == _what_helps("full", disk))
    ballast.unlink()
    eventually(lambda: not in_memory(house))
    eventually(lambda: disk.inside("state/panel.token").exists())
    end_all(house)
    house.start(FIRST)
    assert once_judged(house, FIRST)


def test_while_the_state_cannot_be_read_no_version_is_chosen_by_itself(town: House, disk: SmallDisk) -> None:
    assert town.stop() == 0
    good_version(town.models, SECOND)
    state = disk.inside("state/state.db")
    state.rename(disk.inside("state/kept"))
    state.mkdir()
    town.start(FIRST)
    town.await_state(SECOND, "accepted")
    assert "no version is chosen by itself" in in_memory(town)
    state.rmdir()
    disk.inside("state/kept").rename(state)
    town.await_serving(SECOND)
    assert not in_memory(town)


def test_check_config_shows_what_keeps_the_state_from_its_file(empty: House, disk: SmallDisk) -> None:
    disk.inside("state").mkdir()
    assert "state_dir" not in check_config(empty)
    disk.fill()
    shown = check_config(empty)
    assert "control.state_dir: cannot write " in shown
    assert "`modelward sweep` removes what may go" in shown


def check_config(house: House) -> str:
    command = [*house.prefix, sys.executable, "-m", "modelward.daemon", "check-config", str(house.config)]
    path = os.pathsep.join(p for p in sys.path if p)
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=True)
    return done.stdout


def test_a_state_directory_that_is_removed_while_it_runs_is_written_again(town: House, disk: SmallDisk) -> None:
    shutil.rmtree(disk.inside("state"))
    eventually(lambda: disk.inside("state/state.db").exists())
    eventually(lambda: "state-kept" in kinds(town))
    before = known(town)
    end_all(town)
    town.start(FIRST)
    assert known(town)[-len(before) :] == before
    assert once_judged(town, FIRST)
