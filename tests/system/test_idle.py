"""A daemon with nothing to do costs next to nothing, and still sees at once what there is to see.

The limits are twice the aims of the bench and more, which says the figures of a quiet machine: here others are at work.
"""

from __future__ import annotations

import os
import signal
import threading

import pytest
from tests.bench import trees
from tests.support import eventually
from tests.system.conftest import Build
from tests.versions import good_version

pytestmark = pytest.mark.system
START_SECONDS, SECONDS = 8.0, 20.0
MOST_WAKEUPS_A_SECOND = 2.5
MOST_CPU_MS_A_MINUTE = 80.0
MOST_RESIDENT_MIB = 64.0


def test_a_daemon_at_rest_hardly_wakes_starts_nothing_and_misses_nothing(build: Build) -> None:
    house = build(
        models={"rescan": 5, "settle": 1}, rollout={"bake": 10}, disk={"check": 10}, panel={"listen": "127.0.0.1:0"}
    )
    good_version(house.models, "dtmf-v1.0")
    house.start()
    house.await_serving("dtmf-v1.0")
    assert house.process is not None
    pid = house.process.pid
    threading.Event().wait(START_SECONDS)  # what a start brings about
    woken, cpu, children = trees.switches(pid), trees.run_seconds(pid), trees.waited_seconds(pid)
    threading.Event().wait(SECONDS)
    woken, cpu = trees.switches(pid) - woken, trees.run_seconds(pid) - cpu
    assert woken / SECONDS < MOST_WAKEUPS_A_SECOND
    assert cpu * 1000 * 60 / SECONDS < MOST_CPU_MS_A_MINUTE
    assert trees.waited_seconds(pid) == children  # nobody was started: an interpreter alone takes several ticks
    assert trees.memory([pid])["rss"] < MOST_RESIDENT_MIB
    # The next round by itself may be a minute away: none of this waits for it.
    socket = house.root / "run" / "api.sock"
    socket.unlink()
    eventually(socket.exists, 8.0)
    os.kill(house.workers()[0]["pid"], signal.SIGKILL)
    eventually(lambda: len(house.history("worker-ended")) == 1, 3.0)
    house.await_serving("dtmf-v1.0")
    good_version(house.models, "dtmf-v1.1")
    eventually(lambda: house.version("dtmf-v1.1"), 3.0)
