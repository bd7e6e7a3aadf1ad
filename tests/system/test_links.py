"""The link is the operator's word: every way of moving it is followed, every wrong one is put right and said."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.house import House
from tests.support import PATIENCE_SECONDS, eventually
from tests.system.conftest import Build
from tests.system.marks import at, mark
from tests.versions import broken_version, good_version

pytestmark = pytest.mark.system

OLD, NEW = "dtmf-v1.0", "dtmf-v1.1"
RARELY_SECONDS = 3600
"""No wait of a test is so long: what happens before was brought about by what was done, not by a timer."""
Move = Callable[[House, str], None]


@pytest.fixture(scope="module")
def shared(build_shared: Build) -> House:
    house = build_shared(models={"rescan": RARELY_SECONDS})
    good_version(house.models, OLD)
    good_version(house.models, NEW, words=True)
    return house.start(NEW)


@pytest.fixture
def town(shared: House) -> House:
    """Two accepted versions, the newer one live and nothing held: as every test finds it."""
    for name, version in shared.versions().items():
        if version["held"]:
            shared.command("release", version=name)
    if not _names(shared, NEW):
        shared.link.unlink(missing_ok=True)
        shared.link.symlink_to(NEW)
    eventually(lambda: shared.status()["live"] == NEW and shared.serves(NEW) and not shared.status()["rollout"])
    return shared


def _names(house: House, version: str) -> bool:
    return house.link.is_symlink() and os.readlink(house.link) == version


def _shell(command: str) -> Move:
    def move(house: House, version: str) -> None:
        elsewhere = house.root / "elsewhere"
        elsewhere.mkdir(exist_ok=True)
        variables = {"PATH": os.environ["PATH"], "V": version, "ELSEWHERE": str(elsewhere)}
        subprocess.run(["sh", "-ec", command], cwd=house.models, env=variables, check=True, timeout=PATIENCE_SECONDS)

    return move


def _replace(house: House, version: str) -> None:
    aside = house.models / ".next"
    os.symlink(version, aside)
    os.replace(aside, house.link)


def _from_another_file_system(house: House, version: str) -> None:
    shm = Path("/dev/shm")
    if not shm.is_dir() or shm.stat().st_dev == house.models.stat().st_dev:
        pytest.skip("there is no second file system to move a link from")
    made = shm / f"modelward-test-link-{os.getpid()}"
    os.symlink(version, made)
    try:
        subprocess.run(["mv", "-T", str(made), str(house.link)], check=True, timeout=PATIENCE_SECONDS)
    finally:
        made.unlink(missing_ok=True)


MOVES: dict[str, Move] = {
    "ln -sfn": _shell('ln -sfn "$V" current'),
    "ln and mv -T": _shell('ln -s "$V" .next && mv -T .next current'),
    "os.replace": _replace,
    "another file system": _from_another_file_system,
    "rm and ln": _shell('rm current; ln -s "$V" current'),
    "absolute": lambda house, version: _replace(house, str(house.models / version)),
}


@pytest.mark.parametrize("way", MOVES)
def test_every_worker_serves_what_the_link_names_at_once_after_any_way_of_moving_it(town: House, way: str) -> None:
    before = mark(town)
    with town.load(clients=2) as load:
        MOVES[way](town, OLD)
        town.await_serving(OLD)  # no look by the timer comes before the test gives up
    assert [e["version"] for e in before.history("activated")] == [OLD]
    assert before.loads() == len(town.workers())
    assert load.failures == []
    assert load.mixed == []
    assert town.status()["live"] == OLD


def test_an_older_version_set_by_hand_stays_until_one_arrives_later(town: House) -> None:
    before = mark(town)
    MOVES["ln -sfn"](town, OLD)
    town.await_serving(OLD)
    eventually(lambda: town.version(NEW)["held"])
    assert "newer than dtmf-v1.0" in town.version(NEW)["held_because"]
    town.command("reload")  # looks again, and is done with it
    good_version(town.models, "dtmf-v0.5")  # a later one, but older: nothing to go to
    town.await_state("dtmf-v0.5", "accepted")
    assert town.serves(OLD)
    good_version(town.models, "dtmf-v1.2", words=True).joinpath("note.txt").write_text("other bytes")
    town.await_serving("dtmf-v1.2")
    assert [e["version"] for e in before.history("activated")] == [OLD, "dtmf-v1.2"]
    assert town.version(NEW)["held"]
    shutil.rmtree(town.models / "dtmf-v0.5")
    MOVES["ln -sfn"](town, NEW)
    town.await_serving(NEW)
    shutil.rmtree(town.models / "dtmf-v1.2")
    eventually(lambda: not town.version("dtmf-v1.2"))


WRONG: dict[str, tuple[str, str]] = {
    "dangling": ("dtmf-v9.9", "nothing is there"),
    "to a file": ("notes.txt", "a file, not a directory"),
    "a loop of two": ("there", "a loop"),
    "a chain that ends outside": ("far", "not directly in the model root"),
    "to a name that is no version": (".hidden", "not the name of a version"),
    "of absurd length": ("x/" * 2000, "nothing is there"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_link_that_names_no_version_is_put_back_and_said_while_the_old_one_answers(town: House, case: str) -> None:
    target, because = WRONG[case]
    (town.models / "notes.txt").touch()
    (town.models / ".hidden").mkdir(exist_ok=True)
    for name, to in (("there", "current"), ("far", "/usr")):
        if not (town.models / name).is_symlink():
            (town.models / name).symlink_to(to)
    before = mark(town)
    with town.load(clients=1) as load:
        _replace(town, target)
        said = eventually(lambda: before.history("link-restored"))
        assert _names(town, NEW)
    assert len(said) == 1
    assert because in said[0]["because"]
    assert f"put back to {NEW}" in said[0]["because"]
    assert before.history("activated") == []
    assert before.loads() == 0
    assert load.failures == []
    assert set(load.answers) == {(NEW, "five five five one two three four")}


def test_a_chain_of_links_that_ends_at_a_version_is_followed_and_left_as_it_is(town: House) -> None:
    before = mark(town)
    for name, to in (("stable", OLD), ("production", "stable")):
        if not (town.models / name).is_symlink():
            (town.models / name).symlink_to(to)
    _replace(town, "production")
    town.await_serving(OLD)
    assert [e["version"] for e in before.history("activated")] == [OLD]
    assert before.history("link-restored") == []


def test_the_same_content_under_another_name_is_served_under_it_without_a_canary(town: House) -> None:
    twin = good_version(town.models, "dtmf-v0.9", words=True)
    town.await_state("dtmf-v0.9", "accepted")
    before = mark(town)
    with town.load(clients=1) as load:
        MOVES["ln and mv -T"](town, "dtmf-v0.9")
        eventually(lambda: before.history("acknowledged"))
        town.await_serving("dtmf-v0.9")
        assert town.status()["live"] == "dtmf-v0.9"
        town.command("reload")
        town.command("validate", version=OLD)  # several rounds pass
    assert before.events("baking", "cannot serve") == []
    assert before.history("activated") == []
    assert load.failures == []

    pid = town.workers()[0]["pid"]
    os.kill(pid, signal.SIGKILL)  # its successor loads what the others serve
    eventually(lambda: pid not in {w["pid"] for w in town.workers()} and len(town.workers()) == 2)
    town.await_serving("dtmf-v0.9")
    assert before.events("cannot serve") == []

    town.command("rollback")
    town.await_serving(NEW)
    assert town.status()["live"] == NEW
    assert len(before.history("acknowledged")) == 2
    shutil.rmtree(twin)
    eventually(lambda: not town.version("dtmf-v0.9"))


def test_a_copy_that_was_activated_by_its_other_name_is_what_every_answer_says_from_then_on(town: House) -> None:
    twin = good_version(town.models, "dtmf-v0.8", words=True)
    town.await_state("dtmf-v0.8", "accepted")
    assert town.command("activate", version="dtmf-v0.8")["message"] == "serving dtmf-v0.8"
    assert {town.transcribe()[1]["version"] for _ in range(8)} == {"dtmf-v0.8"}
    assert {w["serving"] for w in town.workers()} == {"dtmf-v0.8"}
    assert town.command("rollback")["message"] == f"serving {NEW}"
    assert {town.transcribe()[1]["version"] for _ in range(8)} == {NEW}
    assert town.version("dtmf-v0.8")["held"]
    shutil.rmtree(twin)
    eventually(lambda: not town.version("dtmf-v0.8"))


def test_a_directory_in_the_links_place_is_not_touched_and_raises_an_alert_until_it_is_gone(town: House) -> None:
    before = mark(town)
    with town.load(clients=1) as load:
        town.link.unlink()
        good_version(town.models, "current")
        alert = eventually(lambda: town.alerts())
        assert "it is a directory, not a symbolic link" in alert[0]["message"]
        assert f"still serving {NEW}" in alert[0]["message"]
        assert sorted(p.name for p in town.link.iterdir()) == sorted(p.name for p in (town.models / OLD).iterdir())
        assert "current" not in town.versions()
        shutil.rmtree(town.link)
        eventually(lambda: _names(town, NEW))
        eventually(lambda: not town.alerts())
    assert before.loads() == 0
    assert load.failures == []


def test_a_missing_link_unloads_nothing_and_is_made_again(town: House) -> None:
    before = mark(town)
    with town.load(clients=1) as load:
        town.link.unlink()
        eventually(lambda: before.history("link-restored"))
    assert _names(town, NEW)
    assert before.loads() == 0
    assert load.failures == []


def test_a_hundred_moves_in_a_second_end_at_the_last_one_without_a_queue_of_loads(town: House) -> None:
    before, moved = mark(town), time.time()
    with town.load(clients=2) as load:
        for i in range(100):
            _replace(town, (OLD, NEW)[i % 2])
            eventually(lambda until=moved + (i + 1) / 100: time.time() >= until)
        _replace(town, OLD)
        last = time.time()
        town.await_serving(OLD)
    eventually(lambda: town.status()["live"] == OLD and not town.status()["rollout"])
    loads = before.loads()
    since = [e for e in before.events("prepared") if at(e) > last]
    print(f"{loads} loads in {len(town.workers())} workers for 101 moves, {len(since)} of them after the last one")
    assert _names(town, OLD)
    assert len(since) <= 3 * len(town.workers())  # what was under way, the way back, and the last one
    assert load.failures == []
    assert load.mixed == []
    time_passes = town.status()["uptime_seconds"] + 1.5
    eventually(lambda: town.status()["uptime_seconds"] > time_passes)
    assert before.loads() == loads


def test_a_link_moved_back_while_its_rollout_is_under_way_is_the_last_word_and_costs_no_delay(build: Build) -> None:
    house = build(rollout={"bake": RARELY_SECONDS, "max_latency_ratio": 1000.0}, models={"rescan": RARELY_SECONDS})
    good_version(house.models, NEW, words=True)
    house.start(NEW)
    good_version(house.models, OLD)
    house.await_state(OLD, "accepted")
    canary_moved = lambda: any(w["serving"] == OLD for w in house.workers())  # noqa: E731
    with house.load(clients=2) as load:
        for _ in range(4):
            _replace(house, OLD)
            eventually(canary_moved)  # and is watched for an hour
            _replace(house, NEW)
            house.await_serving(NEW)
            assert _names(house, NEW)
    assert load.failures == []
    assert load.mixed == []
    assert house.version(OLD)["state"] == "accepted"


def test_a_link_to_a_rejected_version_is_put_back_with_the_reason(town: House) -> None:
    broken_version(town.models, "empty", "dtmf-v1.4")
    town.await_state("dtmf-v1.4", "rejected")
    before = mark(town)
    MOVES["ln -sfn"](town, "dtmf-v1.4")
    said = eventually(lambda: before.history("link-restored"))
    assert _names(town, NEW)
    assert "the link names dtmf-v1.4, which is rejected" in said[0]["because"]
    assert "0 bytes" in said[0]["because"] or "empty" in said[0]["because"]
    assert before.loads() == 0
    shutil.rmtree(town.models / "dtmf-v1.4")
    eventually(lambda: not town.version("dtmf-v1.4"))


def test_a_link_to_a_version_not_judged_yet_is_followed_once_it_is_accepted(town: House) -> None:
    before = mark(town)
    with town.load(clients=1) as load:
        good_version(town.models, "dtmf-v0.7")
        MOVES["ln -sfn"](town, "dtmf-v0.7")
        town.await_serving("dtmf-v0.7")
    kinds = [(e["kind"], e["version"]) for e in before.history() if e["kind"] in ("accepted", "activated")]
    assert kinds == [("accepted", "dtmf-v0.7"), ("activated", "dtmf-v0.7")]
    assert before.history("link-restored") == []
    assert load.failures == []
    MOVES["ln -sfn"](town, NEW)
    town.await_serving(NEW)
    shutil.rmtree(town.models / "dtmf-v0.7")
    eventually(lambda: not town.version("dtmf-v0.7"))


def test_under_manual_only_the_operator_moves_the_link(build: Build) -> None:
    house = build(workers={"count": 1}, models={"activation": "manual"})
    good_version(house.models, OLD)
    house.start()
    house.await_state(OLD, "accepted")
    house.command("reload")
    status, answer, _ = house.transcribe()
    assert status == 503, answer
    assert not house.link.is_symlink()
    house.link.symlink_to(OLD)
    house.await_serving(OLD)
    good_version(house.models, NEW, words=True)
    house.await_state(NEW, "accepted")
    house.command("reload")
    assert house.serves(OLD)
    assert _names(house, OLD)
    MOVES["ln -sfn"](house, NEW)
    house.await_serving(NEW)
    MOVES["ln -sfn"](house, OLD)
    house.await_serving(OLD)
    assert not house.version(NEW)["held"]


def test_a_link_to_a_rejected_version_is_left_with_an_alert_when_so_configured(build: Build) -> None:
    house = build(workers={"count": 1}, models={"rejected_link": "keep"})
    good_version(house.models, OLD)
    broken_version(house.models, "nan_weights", "dtmf-v0.9")
    house.start(OLD)
    house.await_state("dtmf-v0.9", "rejected")
    with house.load(clients=1) as load:
        MOVES["ln -sfn"](house, "dtmf-v0.9")
        alert = eventually(lambda: house.alerts())
        assert "the link names dtmf-v0.9, which is rejected" in alert[0]["message"]
        assert f"it was left; still serving {OLD}" in alert[0]["message"]
        house.command("reload")
        assert _names(house, "dtmf-v0.9")
    assert load.failures == []
    assert set(load.answers) == {(OLD, "5551234")}
    MOVES["ln -sfn"](house, OLD)
    eventually(lambda: not house.alerts())
