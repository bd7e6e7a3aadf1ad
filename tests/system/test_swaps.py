"""Replacing the model under load."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest
from tests.house import House
from tests.support import eventually
from tests.system.conftest import Build
from tests.system.marks import mark
from tests.versions import good_version

pytestmark = pytest.mark.system

SWAPS = 40
"""A session that is not let go of takes several times what the workers may grow by."""


def _resident_bytes(house: House) -> int:
    total = 0
    for pid in house.worker_pids():
        fields = Path(f"/proc/{pid}/statm").read_text().split()
        total += int(fields[1]) * os.sysconf("SC_PAGE_SIZE")
    return total


def test_swap_after_swap_under_four_clients_fails_no_request_and_mixes_no_answer(house: House) -> None:
    good_version(house.models, "dtmf-v1.1", words=True)
    house.await_serving("dtmf-v1.1")
    at_first = 0
    with house.load(clients=4, pause_seconds=0.03) as load:
        for swap in range(SWAPS):
            target = ("dtmf-v1.0", "dtmf-v1.1")[swap % 2]
            assert house.command("activate", version=target)["success"]
            if swap == 5:
                at_first = _resident_bytes(house)
        at_last = _resident_bytes(house)
    assert load.failures == []
    assert load.mixed == []
    assert {version for version, _ in load.answers} == {"dtmf-v1.0", "dtmf-v1.1"}
    assert len(load.seconds) > SWAPS
    assert at_last < at_first * 1.15
    eventually(lambda: house.status()["rollout"] is None)
    assert house.serves("dtmf-v1.1")


def test_the_newest_version_wins_whatever_the_one_before_it_is_at(build: Build) -> None:
    house = build(rollout={"bake": 1.5, "max_latency_ratio": 100})
    good_version(house.models, "dtmf-v1.0")
    house.start("dtmf-v1.0")
    before = mark(house)
    with house.load(clients=2) as load:
        good_version(house.models, "dtmf-v1.1", words=True)
        eventually(lambda: house.version("dtmf-v1.1").get("state") == "validating")
        (good_version(house.models, "dtmf-v1.2") / "note.txt").write_text("while another is judged")
        eventually(lambda: any(w["serving"] == "dtmf-v1.2" for w in house.workers()))
        (good_version(house.models, "dtmf-v1.3", words=True) / "note.txt").write_text("while another is watched")
        house.await_serving("dtmf-v1.3")
    assert house.status()["live"] == "dtmf-v1.3"
    assert load.failures == []
    assert load.mixed == []
    activated = [e["version"] for e in before.history("activated")]
    assert activated == sorted(activated)
    assert activated[-1] == "dtmf-v1.3"
    assert {v["verdict"]["because"] for v in house.versions().values() if v["state"] != "accepted"} == set()
    spans = [
        (e["rollout"]["began"], e["time"]) for e in before.history() if e["kind"] in ("activated", "rollout-failed")
    ]
    assert all(ended <= began for (_, ended), (began, _) in itertools.pairwise(spans))  # one at a time


def test_a_daemon_that_was_started_at_a_low_priority_swaps_too(build: Build) -> None:
    house = build(workers={"count": 1})
    house.prefix = ("nice", "-n", "10")
    good_version(house.models, "dtmf-v1.0")
    house.start("dtmf-v1.0")
    good_version(house.root / "aside", "dtmf-v1.1", words=True).rename(house.models / "dtmf-v1.1")
    house.await_serving("dtmf-v1.1")
