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
SECONDS, MOST_LOOKS = 10.0, 12
MOST_WAKEUPS_A_SECOND = 2.5
MOST_CPU_MS_A_MINUTE = 80.0
MOST_RESIDENT_MIB = 64.0


def test_a_daemon_at_rest_hardly_wakes_starts_nothing_and_misses_nothing(build: Build) -> None:
    house = build(
        models={"rescan": 5, "settle": 1}, rollout={"bake": 10}, disk={"check": 10}, panel={"listen": "127.0.0.1:0"}
    )
    good_version(house.models, "dtmf-v1.0")
    house.start("dtmf-v1.0")
    assert house.process is not None
    pid = house.process.pid
    seen: list[tuple[float, float, float]] = []

    def rests() -> bool:
        """Whether it was at rest for a while: what a start brings about may take longer on a slow machine."""
        woken, cpu, children = trees.switches(pid), trees.run_seconds(pid), trees.waited_seconds(pid)
        threading.Event().wait(SECONDS)
        woken, cpu = (trees.switches(pid) - woken) / SECONDS, (trees.run_seconds(pid) - cpu) * 60_000 / SECONDS
        seen.append((woken, cpu, trees.waited_seconds(pid) - children))
        # Nothing may be started: an interpreter alone takes several ticks.
        return woken < MOST_WAKEUPS_A_SECOND and cpu < MOST_CPU_MS_A_MINUTE and seen[-1][2] == 0

    assert any(rests() for _ in range(MOST_LOOKS)), f"(wakeups a second, ms of CPU a minute, children's s): {seen}"
    assert trees.memory([pid])["rss"] < MOST_RESIDENT_MIB
    house.configure(models={"rescan": 3600}, disk={"check": 3600})
    house.command("reload")
    # The next round by itself is an hour away: none of this waits for it.
    socket = house.root / "run" / "api.sock"
    socket.unlink()
    eventually(socket.exists)
    os.kill(house.workers()[0]["pid"], signal.SIGKILL)
    eventually(lambda: len(house.history("worker-ended")) == 1)
    house.await_serving("dtmf-v1.0")
    good_version(house.models, "dtmf-v1.1")
    eventually(lambda: house.version("dtmf-v1.1"))
