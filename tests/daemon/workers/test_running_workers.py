"""Workers are found by their command lines: those for one socket, and no other process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support import eventually

from modelward.daemon.system.processes import identity
from modelward.daemon.workers.running_workers import running_workers, worker_name

SOCKET = "/run/modelward/workers.sock"


def test_a_worker_that_runs_is_found_with_its_name_and_identity(tmp_path: Path) -> None:
    socket = str(tmp_path / "workers.sock")
    settings = json.dumps({"name": "w7", "worker_socket": socket})
    command = [sys.executable, "-c", "import sys; sys.stdin.read()", "modelward.worker", "--settings", settings]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        eventually(lambda: list(running_workers(socket)))
        assert list(running_workers(socket)) == [("w7", identity(process.pid))]
        assert list(running_workers(str(tmp_path / "other.sock"))) == []
        process.communicate()
    assert list(running_workers(socket)) == []


@pytest.mark.parametrize(
    "command",
    [
        [],
        ["python3", "-m", "modelward.worker"],
        ["python3", "-m", "modelward.worker", "--settings"],
        ["python3", "-m", "modelward.worker", "--settings", "{}"],
        ["python3", "-m", "modelward.worker", "--settings", "[1]"],
        ["python3", "-m", "modelward.worker", "--settings", "[" * 5000],
        ["python3", "-m", "modelward.worker", "--settings", '{"name": "w1", "worker_socket": "/other"}'],
        ["python3", "-m", "other", "--settings", json.dumps({"name": "w1", "worker_socket": SOCKET})],
        ["grep", "modelward.worker", json.dumps({"name": "w1", "worker_socket": SOCKET})],
    ],
)
def test_any_other_process_is_none(command: list[str]) -> None:
    assert worker_name("".join(f"{word}\0" for word in command).encode(), SOCKET) == ""
