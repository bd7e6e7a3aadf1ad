"""A validator that the machine keeps from working is no reason to reject a version."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from tests.house import House
from tests.support import eventually
from tests.system.conftest import Build
from tests.versions import good_version

pytestmark = pytest.mark.system


def validators(house: House) -> list[int]:
    """The validators that this house's daemon started."""
    assert house.process is not None
    found = []
    for entry in Path("/proc").iterdir():
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == house.process.pid and b"modelward.worker.validate" in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except (OSError, ValueError, IndexError):
            continue
    return found


def test_a_validator_that_is_stopped_for_longer_than_its_time_is_no_rejection(build: Build) -> None:
    house = build(workers={"count": 1}, validation={"timeout": 2, "golden": "", "compile": "off"})
    house.start()
    good_version(house.models, "dtmf-v1.0")
    (pid,) = eventually(lambda: validators(house))
    os.kill(pid, signal.SIGSTOP)
    (entry,) = eventually(lambda: house.history("not-judged"))
    assert entry["version"] == "dtmf-v1.0"
    assert "it is stopped by a signal; it is tried again in 15 s" in entry["because"]
    assert house.version("dtmf-v1.0")["state"] == "settling"
    assert house.version("dtmf-v1.0")["waiting"].startswith("not judged yet: ")
    house.command("activate", version="dtmf-v1.0")
    house.await_serving("dtmf-v1.0")
    assert house.history("rejected") == []
