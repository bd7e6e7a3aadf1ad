"""Starting anew after the worst: a corrupt candidate, lost copies, damaged state, nothing at all."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest
from tests.house import House
from tests.support import eventually
from tests.system.conftest import Build
from tests.system.marks import mark
from tests.versions import MODEL, broken_version, good_version

pytestmark = pytest.mark.system

OLD, NEW = "dtmf-v1.0", "dtmf-v1.1"


def _ended(house: House) -> House:
    """The house, whose one worker served dtmf-v1.0, after its end."""
    good_version(house.models, OLD)
    house.start(OLD)
    assert house.stop() == 0
    assert house.worker_pids() == []
    return house


KEPT = ("state", "cache")


@pytest.fixture(scope="module")
def served(build_shared: Build) -> House:
    house = _ended(build_shared(workers={"count": 1}))
    for place in KEPT:
        shutil.copytree(house.root / place, house.root / "kept" / place)
    return house


@pytest.fixture
def town(served: House) -> House:
    """A house whose one worker served dtmf-v1.0 and that was ended: with its state and its copies as they were then.

    The version itself is never touched: what is known of it holds for the very files that were judged.
    """
    served.close()
    for entry in served.models.iterdir():
        if entry.is_symlink():
            entry.unlink()
        elif entry.name != OLD:
            shutil.rmtree(entry)
    served.link.symlink_to(OLD)
    for place in KEPT:
        shutil.rmtree(served.root / place, ignore_errors=True)
        shutil.copytree(served.root / "kept" / place, served.root / place)
    (served.log_dir / "modelward.log").unlink(missing_ok=True)
    return served


def _compiled(house: House) -> list[Path]:
    """Copies that are whole: what is being made has a hidden name."""
    return sorted(p for p in (house.root / "cache" / "compiled").iterdir() if not p.name.startswith("."))


def test_starts_on_the_last_good_version_at_once_beside_a_corrupt_newer_one(town: House) -> None:
    broken_version(town.models, "truncated", NEW)
    town.start(OLD)
    town.await_state(NEW, "rejected")
    assert town.status()["live"] == OLD
    assert [e["version"] for e in town.events() if e["event"] == "validating"] == [NEW]


def test_starts_on_the_last_good_version_when_the_link_was_moved_to_a_corrupt_one_meanwhile(town: House) -> None:
    broken_version(town.models, "garbage", NEW)
    town.link.unlink()
    town.link.symlink_to(NEW)
    town.start(OLD)
    eventually(lambda: town.link.is_symlink() and os.readlink(town.link) == OLD)
    assert "rejected" in eventually(lambda: town.history("link-restored"))[0]["because"]  # written down after it


def test_starts_on_the_last_good_copy_when_the_version_itself_was_destroyed_meanwhile(build: Build) -> None:
    town = _ended(build(workers={"count": 1}))
    (town.models / OLD / MODEL).write_bytes(b"not a model")
    town.start(OLD)
    town.await_state(OLD, "rejected")
    assert town.transcribe()[1]["result"] == "5551234"
    assert "files of dtmf-v1.0 are gone or others" in str(eventually(lambda: town.status()["alerts"]))


@pytest.mark.parametrize("fault", ["lost", "truncated"])
def test_a_damaged_copy_of_the_last_good_version_is_made_again_from_its_files(town: House, fault: str) -> None:
    [copy] = _compiled(town)
    if fault == "lost":
        shutil.rmtree(copy)
    else:
        largest = max((p for p in copy.iterdir() if p.is_file()), key=lambda p: p.stat().st_size)
        largest.chmod(0o600)
        os.truncate(largest, largest.stat().st_size // 2)
    town.start(OLD)
    assert town.transcribe()[1]["result"] == "5551234"


def test_a_cache_that_somebody_empties_is_filled_again_while_workers_serve_on(house: House) -> None:
    good_version(house.models, "dtmf-v0.9", words=True)
    house.await_state("dtmf-v0.9", "accepted")
    before = mark(house)
    with house.load(clients=2) as load:
        (house.root / "cache").rename(house.root / "gone")  # at once: it is filled while it is emptied
        shutil.rmtree(house.root / "gone")
        eventually(lambda: len(before.history("accepted")) == 2)
        assert len(_compiled(house)) == 2
        pid = house.workers()[0]["pid"]
        os.kill(pid, signal.SIGTERM)  # its successor has something to load
        eventually(lambda: pid not in {w["pid"] for w in house.workers()} and len(house.workers()) == 2)
        house.await_serving(OLD)
        assert house.command("activate", version="dtmf-v0.9")["success"]
    assert load.failures == []
    assert load.mixed == []
    assert {e["version"] for e in before.history("copy-lost")} == {OLD, "dtmf-v0.9"}


@pytest.mark.parametrize("fault", ["truncated", "gone"])
def test_damaged_state_costs_a_look_and_no_service(town: House, fault: str) -> None:
    database = town.root / "state" / "state.db"
    for beside in ("-wal", "-shm"):
        Path(f"{database}{beside}").unlink(missing_ok=True)
    if fault == "truncated":
        os.truncate(database, database.stat().st_size // 2)
    else:
        database.unlink()
    town.start(OLD)
    assert town.status()["live"] == OLD
    assert town.transcribe()[1]["result"] == "5551234"
    good_version(town.models, NEW, words=True)
    town.await_serving(NEW)


def test_state_that_cannot_be_had_is_said_at_once(town: House) -> None:
    database = town.root / "state" / "state.db"
    database.unlink()
    database.mkdir()
    town.start()
    eventually(lambda: f"cannot write {database}: a directory has its name; mv " in str(town.status()["alerts"]))
    assert "state_in_memory" in str(town.status()["alerts"])


def test_with_nothing_to_serve_it_waits_with_503_until_something_arrives(build: Build) -> None:
    house = build(workers={"count": 1})
    house.start()
    eventually(lambda: "idle" in {w["state"] for w in house.workers()})
    status, answer, _ = house.transcribe()
    assert status == 503
    assert answer["error"]["message"].startswith("cannot ")
    assert not house.status()["ready"]
    broken_version(house.models, "empty", OLD)
    house.await_state(OLD, "rejected")
    assert house.transcribe()[0] == 503
    good_version(house.models, NEW, words=True)
    house.await_serving(NEW)
    assert house.transcribe()[0] == 200
    assert os.readlink(house.link) == NEW


def test_what_was_held_and_judged_is_remembered(town: House) -> None:
    town.start(OLD)
    good_version(town.models, NEW, words=True)
    town.await_serving(NEW)
    assert town.command("rollback")["success"]
    assert town.stop() == 0
    judged = [e["event"] for e in town.events()].count("validating")
    town.start(OLD)
    town.command("reload")
    assert town.serves(OLD)
    assert town.version(NEW)["held"]
    assert [e["event"] for e in town.events()].count("validating") == judged
