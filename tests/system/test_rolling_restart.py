"""SIGUSR2: every worker is replaced, each successor first, and nobody who keeps his connection notices."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from tests.house import House
from tests.support import eventually
from tests.system.conftest import Build
from tests.system.marks import Mark, at, mark
from tests.versions import good_version

pytestmark = pytest.mark.system

OLD, NEW = "dtmf-v1.0", "dtmf-v1.1"
WORKERS = 2


@pytest.fixture(scope="module")
def town(build_shared: Build) -> House:
    house = build_shared(workers={"count": WORKERS})
    good_version(house.models, OLD)
    house.start(OLD)
    eventually(lambda: len(_pids(house)) == WORKERS)
    return house


def _pids(house: House) -> set[int]:
    return {w["pid"] for w in house.workers()}


def _replaced(house: House, old: set[int]) -> bool:
    now = house.workers()
    return len(now) == WORKERS and old.isdisjoint(w["pid"] for w in now) and all(w["state"] == "ready" for w in now)


def _fewest_ready(since: Mark) -> int:
    """The least number of workers that let anybody in, by the log: a successor counts from its first `serving`,
    a worker that is sent away counts until it was told so."""
    changes = [(at(e), 1) for e in since.events("serving")]
    changes += [(at(e), -1) for e in since.events("draining")]
    ready = fewest = WORKERS
    for _, change in sorted(changes, key=lambda c: (c[0], -c[1])):
        ready += change
        fewest = min(fewest, ready)
    assert ready == WORKERS
    return fewest


def test_every_worker_is_replaced_successor_first_and_no_request_fails(town: House) -> None:
    assert town.process is not None
    old, before, least = _pids(town), mark(town), [WORKERS]
    with town.load(clients=4) as load:
        eventually(lambda: len(load.seconds) > 20)
        os.kill(town.process.pid, signal.SIGUSR2)

        def watched() -> bool:
            least.append(sum(w["state"] == "ready" for w in town.workers()))
            return _replaced(town, old)

        eventually(watched)
        seen = len(load.seconds)
        eventually(lambda: len(load.seconds) > seen + 20)
    print(f"{len(load.seconds)} requests, {len(load.failures)} failed; the longest took {max(load.seconds):.2f} s")
    assert load.failures == []
    assert load.mixed == []
    assert min(least) == WORKERS
    assert _fewest_ready(before) == WORKERS
    starts = [e for e in before.events("worker started") if "pid" in e]
    assert len(starts) == WORKERS
    ended = before.history("worker-ended")
    assert ended == []  # they were sent away, they did not die
    assert before.history("rollout-failed") == []


def test_a_second_signal_in_the_middle_replaces_all_that_there_are_then_and_loses_nothing(town: House) -> None:
    assert town.process is not None
    old = _pids(town)
    with town.load(clients=4) as load:
        os.kill(town.process.pid, signal.SIGUSR2)
        eventually(lambda: not old <= _pids(town))  # the first successor is there
        between = _pids(town)
        os.kill(town.process.pid, signal.SIGUSR2)
        eventually(lambda: _replaced(town, old | between))
    assert load.failures == []


def test_a_rollout_in_the_middle_of_a_rolling_restart_ends_with_new_workers_on_the_new_version(town: House) -> None:
    assert town.process is not None
    good_version(town.models, NEW, words=True)
    town.await_serving(NEW)
    town.command("activate", version=OLD)
    town.await_serving(OLD)
    old = _pids(town)
    with town.load(clients=4) as load:
        os.kill(town.process.pid, signal.SIGUSR2)
        assert town.command("activate", version=NEW)["success"]
        eventually(lambda: _replaced(town, old))
        town.await_serving(NEW)
    assert load.failures == []
    assert load.mixed == []
    assert os.readlink(town.link) == NEW


def test_workers_started_after_an_upgrade_stay_though_the_daemon_was_not_restarted_yet(
    build: Build, tmp_path: Path
) -> None:
    record = tmp_path / "site" / "modelward-1.0.dist-info" / "METADATA"
    record.parent.mkdir(parents=True)
    record.write_text("Name: modelward\nVersion: 1.0\n\n")
    house = build(workers={"count": 1})
    house.import_from = (tmp_path / "site",)
    good_version(house.models, OLD)
    house.start(OLD)
    record.write_text("Name: modelward\nVersion: 1.1\n\n")
    before = mark(house)
    for _ in range(3):
        assert house.command("restart")["success"]
        house.await_serving(OLD)
    assert [e for e in before.events("worker retires") if "asked for by command" not in e["because"]] == []
