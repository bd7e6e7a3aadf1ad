"""Retention on a running house: what stays, and why, in the operator's own words."""

from __future__ import annotations

import os

import pytest
from tests.house import House
from tests.system.conftest import Build
from tests.versions import good_version

pytestmark = pytest.mark.system

NAMES = [f"dtmf-v1.{i}" for i in range(4)]


@pytest.fixture
def town(build: Build) -> House:
    """Serves dtmf-v1.2, served dtmf-v1.3 before; dtmf-v1.0 is held; nothing is to be kept beyond what must be."""
    house = build(
        models={"keep": 0},
        disk={"min_age": 0},
    )
    for name in NAMES:
        (good_version(house.models, name) / "NOTES").write_text(name)  # the same bytes would be the same version
    house.start("dtmf-v1.3")
    for name in NAMES:
        house.await_state(name, "accepted")
    house.command("activate", version="dtmf-v1.2")
    house.command("hold", version="dtmf-v1.0")
    house.await_serving("dtmf-v1.2")
    return house


def test_nothing_that_is_live_previous_held_or_young_goes_though_none_is_to_be_kept(town: House) -> None:
    long_ago = 1_000_000_000
    for path in (town.models / "dtmf-v1.1").rglob("*"):
        os.utime(path, (long_ago, long_ago))  # what anybody can say of his files' age counts for nothing
    os.utime(town.models / "dtmf-v1.1", (long_ago, long_ago))
    for dry_run in (True, False):
        done = town.api.post("/v1/sweep", {"dry_run": dry_run}).data
        for row in done["classes"]:
            if row["class"] in ("versions", "compiled"):
                assert not row.get("removed"), row
    assert sorted(name for name in os.listdir(town.models) if name != "current") == NAMES
    copies = [name for name in os.listdir(town.root / "cache" / "compiled") if not name.startswith(".tmp-")]
    assert len(copies) == len(NAMES)  # and, perhaps, what is being made of the version that was touched
    town.await_serving("dtmf-v1.2")
    print(town.cli("sweep", "--dry-run").stdout)
