"""A daemon that may have few descriptors: floods of connections take none that it needs itself."""

from __future__ import annotations

import contextlib
import shutil
import socket
from pathlib import Path

import pytest
from tests.house import House
from tests.support import PATIENCE_SECONDS, eventually
from tests.system.conftest import Build
from tests.system.test_panel import Panel
from tests.versions import good_version

pytestmark = pytest.mark.system
DESCRIPTORS = 80


@pytest.mark.skipif(shutil.which("prlimit") is None, reason="prlimit (util-linux) is not installed")
def test_floods_leave_the_command_line_the_panel_and_the_next_version_their_descriptors(build: Build) -> None:
    panel = Panel(build, workers={"count": 1, "drain": 10})
    house: House = panel.house
    house.prefix = ("prlimit", f"--nofile={DESCRIPTORS}:{DESCRIPTORS}")
    panel.start()
    with contextlib.ExitStack() as stack:
        for _ in range(3 * DESCRIPTORS):
            stack.enter_context(flood(("127.0.0.1", panel.port)))
        for _ in range(DESCRIPTORS):
            stack.enter_context(flood(house.root / "run" / "api.sock"))
        assert house.cli("status").returncode == 0
        assert panel.get("/health")[0] == 200
        good_version(house.models, "dtmf-v1.1")
        house.await_serving("dtmf-v1.1")
    eventually(lambda: panel.get("/health")[0] == 200)
    assert "Too many open files" not in (house.log_dir / "error.log").read_text()


def flood(address: tuple[str, int] | Path) -> socket.socket:
    """A connection that asks for nothing; where the daemon has no room, one that it closes."""
    client = socket.socket(socket.AF_UNIX if isinstance(address, Path) else socket.AF_INET)
    client.settimeout(PATIENCE_SECONDS)
    client.connect(str(address) if isinstance(address, Path) else address)
    return client
