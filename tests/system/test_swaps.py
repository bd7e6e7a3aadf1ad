"""Replacing the model under load."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.house import House
from tests.support import eventually
from tests.versions import good_version

pytestmark = pytest.mark.system


def _resident_bytes(house: House) -> int:
    total = 0
    for pid in house.worker_pids():
        fields = Path(f"/proc/{pid}/statm").read_text().split()
        total += int(fields[1]) * os.sysconf("SC_PAGE_SIZE")
    return total


@pytest.mark.timeout(400)
def test_two_hundred_swaps_under_four_clients_fail_no_request_and_mix_no_answer(house: House) -> None:
    good_version(house.models, "dtmf-v1.1", words=True)
    house.await_serving("dtmf-v1.1")
    at_first = 0
    with house.load(clients=4) as load:
        for swap in range(200):
            target = ("dtmf-v1.0", "dtmf-v1.1")[swap % 2]
            assert house.command("activate", version=target)["success"]
            if swap == 5:
                at_first = _resident_bytes(house)
        at_last = _resident_bytes(house)
    assert load.failures == []
    assert load.mixed == []
    assert {version for version, _ in load.answers} == {"dtmf-v1.0", "dtmf-v1.1"}
    assert len(load.seconds) > 400
    assert at_last < at_first * 1.15
    eventually(lambda: house.status()["rollout"] is None)
    assert house.serves("dtmf-v1.1")
