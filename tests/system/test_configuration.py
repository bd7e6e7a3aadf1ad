"""The configuration is read again whole or not at all, while workers answer; a signal is never anybody's end."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.house import House
from tests.support import eventually
from tests.system.conftest import Build
from tests.system.marks import mark
from tests.versions import CopyUnderway, good_version

pytestmark = pytest.mark.system

OLD, NEW = "dtmf-v1.0", "dtmf-v1.1"


@pytest.fixture(scope="module")
def shared(build_shared: Build) -> House:
    house = build_shared()
    good_version(house.models, OLD)
    _mount(house, "..1")
    return house.start(OLD)


def _mount(house: House, name: str) -> None:
    """The configuration as a ConfigMap is mounted: behind two links, of which the inner one is swapped."""
    house.configure(models={"keep": int(name.strip("."))})
    (house.root / name).mkdir()
    house.config.rename(house.root / name / house.config.name)
    house.config.symlink_to(f"..data/{house.config.name}")
    (house.root / "..swap").symlink_to(name)
    (house.root / "..swap").rename(house.root / "..data")


@pytest.fixture
def town(shared: House) -> House:
    """A house with its first configuration in force and two workers."""
    if shared.config.is_dir():
        shared.config.rmdir()
    else:
        shared.config.unlink(missing_ok=True)
    shared.configure()
    assert shared.command("reload")["success"]
    eventually(lambda: len(shared.workers()) == 2)
    shared.await_serving(OLD)
    assert shared.status()["config"]["rejected"] == ""
    return shared


def _signal(house: House, number: signal.Signals) -> None:
    assert house.process is not None
    house.process.send_signal(number)


def _at_rest(path: Path) -> None:
    """Returns when nothing was added to a file for half a second."""
    eventually(lambda: time.time() - path.stat().st_mtime > 0.5)


def _text(house: House, text: str) -> None:
    house.config.write_text(text, encoding="utf-8")


def _another(make: Callable[[House], None]) -> Callable[[House], None]:
    def alter(house: House) -> None:
        house.config.unlink()
        make(house)

    return alter


# Every mistake there is has its words in tests/daemon/config/test_load.py.
BAD: dict[str, tuple[Callable[[House], None], str]] = {
    "an unknown key": (lambda house: house.configure(workers={"cuont": 3}), "workers.cuont"),
    "a good change and a bad one": (
        lambda house: house.configure(workers={"count": 4}, rollout={"bake": "soon"}),
        "rollout.bake",
    ),
    "broken syntax": (lambda house: _text(house, "[models\nroot = "), "line 1"),
    "a file that is gone": (_another(lambda house: None), "No such file"),
    "a directory": (_another(lambda house: house.config.mkdir()), "directory"),
    "a pipe nobody writes to": (_another(lambda house: os.mkfifo(house.config)), "regular file"),
    "a device without an end": (_another(lambda house: house.config.symlink_to("/dev/zero")), "regular file"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_configuration_with_a_mistake_changes_nothing_and_is_said(town: House, case: str) -> None:
    spoil, words = BAD[case]
    pids, generation = {w["pid"] for w in town.workers()}, town.status()["config"]["generation"]
    before = mark(town)
    with town.load(clients=1) as load:
        spoil(town)
        _signal(town, signal.SIGHUP)
        rejected = eventually(lambda: town.status()["config"]["rejected"])
        assert words in rejected
        assert rejected in [alert["message"] for alert in town.alerts()]
        assert town.status()["config"]["generation"] == generation

        asked = town.cli("reload")
        assert asked.returncode == 1
        assert asked.stdout == ""
        assert asked.stderr.startswith("cannot use ")
        assert words in asked.stderr
        assert "the old configuration stays in force" in asked.stderr
        assert {w["pid"] for w in town.workers()} == pids
    assert load.failures == []
    assert {e["kind"] for e in before.history()} == {"config-refused"}
    if town.config.is_dir():
        town.config.rmdir()
    else:
        town.config.unlink(missing_ok=True)
    town.configure()
    _signal(town, signal.SIGHUP)
    eventually(lambda: town.status()["config"]["rejected"] == "" and town.alerts() == [])


def test_a_good_change_is_taken_up_and_each_key_says_when_it_holds(town: House) -> None:
    town.configure(models={"settle": "1h"}, workers={"threads": 2}, control={"state_dir": str(town.root / "elsewhere")})
    asked = town.cli("reload")
    assert asked.returncode == 0, asked.stderr
    lines = asked.stdout.splitlines()
    assert "models.settle: 0.3 -> 3600" in lines
    assert "workers.threads: 1 -> 2 (workers are replaced)" in lines
    assert any(line.startswith("control.state_dir: ") and line.endswith("(after a daemon restart)") for line in lines)
    assert lines[-1].startswith("3 changes taken up; the workers are replaced for workers.threads, one at a time")
    assert "control.state_dir waits for a new daemon: " in lines[-1]
    assert not (town.root / "elsewhere").exists()

    source = good_version(town.root / "source", "dtmf-v0.1")
    CopyUnderway(source, town.models / "dtmf-v0.1").finish()  # as cp does: without the marks of a whole directory
    eventually(lambda: town.version("dtmf-v0.1").get("state") == "settling")
    town.configure()
    _signal(town, signal.SIGHUP)  # the short settle time again: judged before the long one is over
    town.await_state("dtmf-v0.1", "accepted")


def test_a_configuration_behind_links_that_are_swapped_is_taken_up(town: House) -> None:
    town.config.unlink()
    _mount(town, "..7")
    assert "models.keep: 3 -> 7" in town.cli("reload").stdout
    town.config.unlink()
    _mount(town, "..8")
    assert "models.keep: 7 -> 8" in town.cli("reload").stdout
    assert town.status()["config"]["path"] == str(town.config)


def test_more_and_fewer_workers_come_and_go_under_load_without_a_failed_request(town: House) -> None:
    with town.load(clients=4) as load:
        for count in (4, 1, 3, 2):
            town.configure(workers={"count": count})
            _signal(town, signal.SIGHUP)
            eventually(lambda want=count: len(town.workers()) == want and town.serves(OLD))
            seen = len(load.seconds)
            eventually(lambda done=seen: len(load.seconds) > done + 8)
    assert load.failures == []
    assert set(load.answers) == {(OLD, "5551234")}


def test_a_hundred_hangups_in_a_second_restart_nobody(town: House) -> None:
    pids = {w["pid"] for w in town.workers()}
    before = mark(town)
    with town.load(clients=2) as load:
        began = time.monotonic()
        for i in range(100):
            _signal(town, signal.SIGHUP)
            eventually(lambda due=began + (i + 1) / 100: time.monotonic() >= due)
        assert town.status()["ready"]
        town.configure(models={"settle": 0.4})  # the last word counts
        _signal(town, signal.SIGHUP)
        eventually(lambda: before.history("config-reloaded"))
    assert load.failures == []
    assert {w["pid"] for w in town.workers()} == pids
    assert {e["kind"] for e in before.history()} == {"config-reloaded"}


def test_a_hangup_that_everybody_gets_ends_nobody(town: House) -> None:
    pids = {w["pid"] for w in town.workers()}
    before = mark(town)
    with town.load(clients=2) as load:
        for pid in pids:
            os.kill(pid, signal.SIGHUP)
        _signal(town, signal.SIGHUP)
        seen = len(load.seconds)
        eventually(lambda: len(load.seconds) > seen + 20)
    assert load.failures == []
    assert {w["pid"] for w in town.workers()} == pids
    assert before.history() == []


def test_logs_are_written_anew_after_the_signal_and_no_line_is_lost(town: House) -> None:
    log = town.log_dir / "access.log"
    _at_rest(log)  # a line is written after its answer: the last test's may be on its way
    before = len(log.read_text().splitlines())
    with town.load(clients=2) as load:
        eventually(lambda: len(load.seconds) > 10)
        moved = log.rename(log.with_name("access.log.1"))
        _signal(town, signal.SIGUSR1)
        eventually(log.exists)
        first = len(load.seconds)
        eventually(lambda: len(load.seconds) > first + 10)
    assert load.failures == []
    _at_rest(log)
    lines = [json.loads(line) for path in (moved, log) for line in path.read_text().splitlines()]
    assert len(lines) - before == len(load.seconds)
    assert all(line["status"] == 200 for line in lines[before:])


def test_a_rolling_restart_by_signal_replaces_every_worker_without_a_failed_request(town: House) -> None:
    pids = {w["pid"] for w in town.workers()}
    with town.load(clients=4) as load:
        _signal(town, signal.SIGUSR2)
        eventually(lambda: len(town.workers()) == 2 and pids.isdisjoint(w["pid"] for w in town.workers()))
        town.await_serving(OLD)
    assert load.failures == []


def test_reload_and_end_in_the_middle_of_a_rollout_leave_a_defined_state(build: Build) -> None:
    house = build(rollout={"bake": 30, "max_latency_ratio": 1000.0})
    good_version(house.models, OLD)
    house.start(OLD)
    good_version(house.models, NEW, words=True)
    eventually(lambda: {w["serving"] for w in house.workers()} == {OLD, NEW})
    for wish in ({"path": "activate", "version": OLD}, {"path": "rollback"}):  # during it, and a reload
        _signal(house, signal.SIGHUP)
        assert house.command(**wish)["success"]
        house.await_serving(OLD)
        assert house.version(NEW)["held"]
        assert house.status()["live"] == OLD
        house.command("release", version=NEW)
        eventually(lambda: {w["serving"] for w in house.workers()} == {OLD, NEW})
    _signal(house, signal.SIGHUP)
    assert house.stop() == 0
    assert house.worker_pids() == []
    assert os.readlink(house.link) == OLD
    house.configure(rollout={"bake": 0})
    house.start(NEW)
    assert house.status()["live"] == NEW
