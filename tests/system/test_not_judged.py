"""Versions that cannot be judged: answered soon with the reason, judged when it is over; the old one serves on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.house import House
from tests.support import eventually
from tests.system.conftest import Build
from tests.versions import good_version

from modelward.daemon.errors import Refused

pytestmark = pytest.mark.system
OLD, NEW = "dtmf-v1.0", "dtmf-v1.1"


@pytest.fixture
def town(build: Build) -> House:
    house = build(workers={"count": 1}, disk={"min_free": "100%", "target_free": "100%"})
    good_version(house.models, OLD)
    return house.start(OLD)


def staged(house: House) -> Path:
    return good_version(house.models, f".{NEW}")


def unjudged(house: House) -> list[str]:
    return [alert["message"] for alert in house.status()["alerts"] if alert["metric"] == "version_unjudged"]


@pytest.mark.parametrize("name", ["artifact.json", "compiled/model.onnx"])
def test_a_version_with_a_file_of_the_daemons_own_name_is_rejected_once_with_that_name(town: House, name: str) -> None:
    path = staged(town)
    (path / name).parent.mkdir(exist_ok=True)
    (path / name).write_text("{}")
    path.rename(town.models / NEW)
    assert name in town.await_state(NEW, "rejected")["verdict"]["because"]
    with pytest.raises(Refused, match=f"cannot activate {NEW}: it is rejected: {name}"):
        town.command("activate", version=NEW)
    judged = sum(e.get("event") == "validating" and e.get("version") == NEW for e in town.events())
    assert judged == 2, "once by itself, and once more because somebody asked for it"
    assert town.serves(OLD)


def test_a_version_without_room_for_its_copy_is_answered_with_the_reason_and_judged_when_there_is_room(
    town: House,
) -> None:
    disk = os.statvfs(town.root)
    free = disk.f_bavail * disk.f_frsize
    if free > 600 << 30:
        pytest.skip("the disk has so much room that no version is too large for it")
    path = staged(town)
    with open(path / "pad.bin", "wb") as pad:
        pad.truncate(min(60 << 30, free // 5))
    path.rename(town.models / NEW)
    reason = "not judged yet: .*free above disk.min_free"
    with pytest.raises(Refused, match=f"cannot activate {NEW}: {reason}.*still serving {OLD}"):
        town.command("activate", version=NEW)
    again = town.command("rescan")
    assert again["success"] is False and "free above disk.min_free" in again["message"]
    assert "free above disk.min_free" in eventually(lambda: town.version(NEW).get("waiting"))
    assert "free above disk.min_free" in str(eventually(lambda: unjudged(town)))
    assert town.serves(OLD)
    (town.models / NEW / "pad.bin").unlink()
    town.await_serving(NEW)
    eventually(lambda: not unjudged(town))
