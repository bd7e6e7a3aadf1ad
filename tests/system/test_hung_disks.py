"""Disks that do not answer hold up neither requests nor the end of the daemon."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from tests.hung_disk import hung
from tests.support import eventually
from tests.system.conftest import Build
from tests.versions import good_version

pytestmark = [pytest.mark.system, pytest.mark.alone]
VERSION = "dtmf-v1.0"
DRAIN_SECONDS = 3
BEYOND_SECONDS = 10.0


def waits_for_the_disk(pid: int) -> bool:
    """Whether some thread of the process waits for a file system that nobody serves."""
    for task in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{task}/wchan") as f:
                if f.read() in ("request_wait_answer", "fuse_get_req"):
                    return True
        except OSError:
            continue
    return False


def ended(process: subprocess.Popen[bytes] | None) -> bool:
    """Whether its program is over. The kernel keeps a thread of it that waits behind the same name or directory as a
    worker that lives on: until the disk answers it cannot be killed.
    """
    assert process is not None
    if process.poll() is not None:
        return process.returncode in (0, 1)
    return "\nState:\tZ" in Path(f"/proc/{process.pid}/status").read_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT])
def test_with_hung_disks_it_answers_and_is_gone_in_time(build: Build, number: signal.Signals) -> None:
    house = build(workers={"count": 1, "drain": DRAIN_SECONDS}, disk={"check": 1})
    good_version(house.models, VERSION)
    house.start(VERSION)
    assert house.process is not None
    with hung(house.models, house.root / "state", house.log_dir):
        eventually(lambda: waits_for_the_disk(house.process.pid if house.process else 0))
        assert house.transcribe()[0] == 200
        began = time.monotonic()
        house.process.send_signal(number)
        eventually(lambda: ended(house.process), seconds=DRAIN_SECONDS + BEYOND_SECONDS)
        assert time.monotonic() - began < DRAIN_SECONDS + BEYOND_SECONDS
        if number == signal.SIGTERM:
            eventually(lambda: not house.worker_pids())
        else:
            assert house.transcribe()[0] == 200
