"""The first second of a daemon: nothing that reaches it then ends it, and nothing is alarming about it."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from tests.house import House
from tests.support import eventually
from tests.system.conftest import Build
from tests.versions import good_version

pytestmark = pytest.mark.system

VERSION = "dtmf-v1.0"
LATER = {signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2}


@pytest.fixture
def town(build: Build) -> House:
    """Not started yet."""
    house = build(workers={"count": 1})
    good_version(house.models, VERSION)
    return house


def _held_back(pid: int) -> set[int]:
    """The signals that wait in a process until it wants them, or that it handles."""
    fields = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    masks = int(fields["SigBlk"], 16) | int(fields["SigCgt"], 16)
    return {number for number in range(1, 32) if masks >> (number - 1) & 1}


def test_a_signal_that_comes_while_it_starts_is_heard_later_and_ends_nobody(town: House) -> None:
    town.start(wait=False)
    process = town.process
    assert process is not None
    eventually(lambda: _held_back(process.pid) >= LATER)
    assert not town.log_dir.exists()  # it is at its very beginning
    town.configure(models={"settle": 0.7})  # read at its start or by the hang-up, it holds in the end

    def hit() -> bool:
        for number in LATER:
            process.send_signal(number)
        return process.poll() is not None or town.answers()

    eventually(hit)
    assert process.poll() is None
    town.await_serving(VERSION)
    assert town.status()["pid"] == process.pid
    assert town.status()["config"]["rejected"] == ""


def test_a_start_with_a_version_to_serve_raises_no_alert_about_the_daemon(town: House) -> None:
    town.start(VERSION)
    ours = [e for e in town.history("alert-firing") if "percent" not in e["because"]]
    assert [e for e in ours if "not watched" in e["because"]] == []
    watched = [e for e in town.events() if e["event"].startswith("watching ")]
    assert len(watched) == 1
