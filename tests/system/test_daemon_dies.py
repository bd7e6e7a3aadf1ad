"""Daemon, validator or a worker is killed at every step of what they do: all come back to one proved version."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.house import House
from tests.support import PATIENCE_SECONDS, eventually
from tests.system.conftest import Build
from tests.system.marks import mark
from tests.versions import good_version

pytestmark = pytest.mark.system

OLD, NEW = "dtmf-v1.0", "dtmf-v1.1"
BAKE_SECONDS = 0.4
# What the daemon reports when it is killed: the word, and the how manieth time. A crash at every step is replayed by
# tests/daemon/workers/test_rollout_replay.py; here each kind of step has one whole house.
MOMENTS = [("prepare", 1), ("serving", 1), ("baking", 1), ("commit", 2), ("link", 1), ("done", 1)]
AFTER_THE_LINK = MOMENTS[MOMENTS.index(("link", 1)) :]


@pytest.fixture(scope="module")
def shared(build_shared: Build) -> House:
    house = build_shared(
        rollout={"bake": BAKE_SECONDS, "max_latency_ratio": 1000.0},  # what else runs here slows a version down
    )
    good_version(house.models, OLD)
    good_version(house.models, NEW, words=True)
    house.start(NEW)
    house.command("hold", version=NEW)
    return house


@pytest.fixture
def town(shared: House) -> House:
    """Two workers serve dtmf-v1.0; dtmf-v1.1 is there, accepted and held."""
    for version in (OLD, NEW):
        shared.await_state(version, "accepted")
    if shared.status()["live"] != OLD:
        shared.command("activate", version=OLD)
    shared.await_serving(OLD)
    eventually(lambda: len(shared.workers()) == 2)
    return shared


STOPPED_FROM_THE_FIRST = """
import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
os.kill(os.getpid(), signal.SIGTERM)
os.execv(sys.argv[1], sys.argv[1:])
"""
"""Becomes a program for which SIGTERM waits already."""


def _pids(house: House) -> set[int]:
    return {w["pid"] for w in house.workers()}


@contextmanager
def _overheard(house: House) -> Iterator[Iterator[tuple[str, dict[str, Any]]]]:
    """The daemon's events from now on, each with its word: a rollout's step, or what a worker said."""
    with closing(socket.socket(socket.AF_UNIX)) as s:
        s.settimeout(PATIENCE_SECONDS)
        s.connect(str(house.root / "run" / "api.sock"))
        s.sendall(b"GET /v1/events HTTP/1.1\r\nHost: modelward\r\n\r\n")
        with s.makefile("rb") as lines:
            for line in lines:
                if line.startswith(b": hello"):
                    break

            def words() -> Iterator[tuple[str, dict[str, Any]]]:
                name = ""
                for line in lines:
                    if line.startswith(b"event: "):
                        name = line[7:].decode().strip()
                    elif line.startswith(b"data: "):
                        data = json.loads(line[6:])
                        word = {"rollout": lambda d: d["steps"][-1]["step"], "worker": lambda d: d["kind"]}.get(name)
                        yield (word(data) if word else name), data

            yield words()


def _hear(words: Iterator[tuple[str, dict[str, Any]]], word: str, times: int = 1) -> dict[str, Any]:
    heard: list[str] = []
    for said, data in words:
        heard.append(said)
        if said == word and heard.count(word) == times:
            return data
        if said in ("done", "failed"):  # its last step
            break
    raise AssertionError(f"{word} was not said {times} times: {heard}")


@pytest.mark.parametrize(("word", "times"), MOMENTS, ids=lambda value: str(value))
def test_a_daemon_killed_at_a_step_of_a_rollout_finds_all_workers_again_and_one_proved_version(
    town: House, word: str, times: int
) -> None:
    pids, before = _pids(town), town.history()[0]["id"]
    with town.load(clients=4) as load:
        with _overheard(town) as words:
            town.api.post("/v1/activate", {"version": NEW})
            _hear(words, word, times)
            town.kill()
        linked, lines = os.readlink(town.link), len(town.events())
        assert linked == (NEW if (word, times) in AFTER_THE_LINK else OLD)
        town.start()
        eventually(lambda: _pids(town) == pids)
        town.await_serving(linked)
        seen = len(load.seconds)
        eventually(lambda: len(load.seconds) > seen + 20)
    print(f"{word} {times}: {linked}, {len(load.seconds)} requests")
    assert load.failures == []
    assert load.mixed == []
    assert os.readlink(town.link) == town.status()["live"] == linked
    assert _pids(town) == pids
    assert not any(w["attached"] for w in town.workers())
    after = town.events()[lines:]
    joined = {e["worker"]: e["serving"] for e in after if e["event"] == "worker joined"}
    assert len(joined) == 2
    loaded, back = set(), set()
    for e in after:  # a worker may still write down what it was told before the daemon died
        back |= {e["worker"]} if e["event"] == "worker joined" else set()
        loaded |= {e["worker"]} & back if e["event"] in ("preparing", "serving") else set()
    assert not loaded & {name for name, serving in joined.items() if serving == linked}  # those stayed as they were
    new = [e["kind"] for e in town.history() if e["id"] > before]
    assert new.count("daemon-started") == 1
    assert "rejected" not in new
    assert "worker-ended" not in new
    assert ("activated" if linked == NEW else "rollout-failed") in new
    assert town.version(NEW)["state"] == "accepted"


def test_workers_that_a_killed_daemon_had_not_written_down_are_taken_back(town: House) -> None:
    before = _pids(town)
    town.kill()
    (town.root / "run" / "workers.json").unlink()
    town.start()
    eventually(lambda: _pids(town) == before)
    assert town.transcribe()[0] == 200


def test_a_link_moved_while_the_daemon_is_dead_takes_the_road_of_any_other(town: House) -> None:
    pids, before = _pids(town), town.history()[0]["id"]
    with town.load(clients=2) as load:
        town.kill()
        aside = town.models / ".link"
        aside.symlink_to(NEW)
        aside.rename(town.link)
        town.start(NEW)
        eventually(lambda: any(e["kind"] == "activated" and e["id"] > before for e in town.history()))
    outcome = next(e for e in town.history() if e["kind"] == "activated")
    assert (outcome["rollout"]["from"], outcome["rollout"]["origin"]) == (OLD, "operator")
    assert [step["step"] for step in outcome["rollout"]["steps"]].count("prepare") == 2
    assert load.failures == []
    assert _pids(town) == pids


# the validator


def _validator(house: House) -> int:
    """Its pid, 0 when none runs."""
    assert house.process is not None
    for entry in Path("/proc").iterdir():
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == house.process.pid and b"modelward.worker.validate" in (entry / "cmdline").read_bytes():
                return int(entry.name)
        except (OSError, ValueError):
            continue
    return 0


GATES = ["sandbox", "golden"]


def _hear_gate(words: Iterator[tuple[str, dict[str, Any]]], gate: str) -> None:
    while _hear(words, "gate")["gate"] != gate:
        pass


@pytest.mark.parametrize("gate", GATES)
def test_a_daemon_killed_at_a_gate_has_the_version_judged_again(town: House, gate: str) -> None:
    name = f"dtmf-v0.1-{gate}"  # lower than what serves, so that nothing is rolled out
    good_version(town.models, f".{name}")
    with town.load(clients=2) as load:
        with _overheard(town) as words:
            os.rename(town.models / f".{name}", town.models / name)
            _hear_gate(words, gate)
            town.kill()
        compiled = town.root / "cache" / "compiled"
        assert not [p for p in compiled.iterdir() if p.name.startswith(f"{name}-")]
        town.start()
        shown = town.await_state(name, "accepted")
    assert load.failures == []
    assert shown["verdict"]["accepted"]
    assert town.status()["live"] == OLD
    assert [e["kind"] for e in town.history() if e["version"] == name][:1] == ["accepted"]
    assert not [p for p in compiled.iterdir() if p.name.startswith(".tmp-")]


@pytest.mark.parametrize("gate", GATES)
def test_a_validator_killed_at_a_gate_leaves_nothing_that_is_used(town: House, gate: str) -> None:
    name = f"dtmf-v0.2-{gate}"
    good_version(town.models, f".{name}")
    with town.load(clients=2) as load:
        with _overheard(town) as words:
            os.rename(town.models / f".{name}", town.models / name)
            _hear_gate(words, gate)
            if victim := _validator(town):
                os.kill(victim, signal.SIGKILL)
        shown = eventually(lambda: v if (v := town.version(name)).get("state") in ("accepted", "rejected") else {})
        if shown["state"] == "rejected":
            assert "the validator died of SIGKILL" in shown["verdict"]["because"]
            assert not [p for p in (town.root / "cache" / "compiled").iterdir() if p.name.startswith(f"{name}-")]
            town.command("validate", version=name)
        town.await_state(name, "accepted")
    assert load.failures == []
    assert town.status()["live"] == OLD


# a worker


@pytest.mark.parametrize(("word", "times"), [("prepare", 1), ("commit", 2)])
def test_a_worker_killed_as_it_is_told_something_costs_its_own_requests_and_no_rollout(
    town: House, word: str, times: int
) -> None:
    before, pids = mark(town), _pids(town)
    with town.load(clients=4, keep_alive=False) as load:
        with _overheard(town) as words:
            town.api.post("/v1/activate", {"version": NEW})
            name = _hear(words, word, times)["steps"][-1]["worker"]
            victim = next(w["pid"] for w in town.workers() if w["name"] == name)
            os.kill(victim, signal.SIGKILL)
        eventually(lambda: len(_pids(town)) == 2 and victim not in _pids(town))
        town.await_serving(NEW)
    print(f"{word} {times}: {len(load.seconds)} requests, {len(load.failures)} were in work")
    assert len(load.failures) == len(load.broken) <= 4
    assert load.mixed == []
    assert os.readlink(town.link) == town.status()["live"] == NEW
    assert len(_pids(town) & pids) == 1
    assert town.version(NEW)["state"] == "accepted"
    assert [e["version"] for e in before.history("activated")] == [NEW]


# a stop


def test_a_stop_while_the_next_daemon_starts_ends_the_workers_of_the_former_one(town: House) -> None:
    assert town.process is not None
    town.process.send_signal(signal.SIGQUIT)
    assert town.process.wait(PATIENCE_SECONDS) == 0
    assert len(town.worker_pids()) == 2
    town.prefix = (sys.executable, "-c", STOPPED_FROM_THE_FIRST)
    town.start(wait=False)
    assert town.process.wait(PATIENCE_SECONDS) == 0
    assert town.worker_pids() == []
    town.prefix = ()
    town.start(OLD)
