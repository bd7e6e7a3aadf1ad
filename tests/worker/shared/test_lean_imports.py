"""Neither program loads rich, which structlog takes in where it finds it."""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from tests.support import PATIENCE_SECONDS

from modelward.worker import protocol as p

IMPORTS = Path(__file__).parents[3] / ".imports"


def loaded_by(*arguments: str, status: int, pass_fds: tuple[int, ...] = ()) -> set[str]:
    """The modules that a program imported until it ended."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", *arguments],
        env={**os.environ, "PYTHONPATH": str(IMPORTS)},
        pass_fds=pass_fds,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )
    assert done.returncode == status, done.stderr[-2000:]
    return {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}


@pytest.mark.skipif(importlib.util.find_spec("rich") is None, reason="rich is not installed")
def test_neither_the_daemon_nor_a_worker_loads_rich(tmp_path: Path) -> None:
    (tmp_path / "wrong.toml").write_text("[models]\nroot = 1\n")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        told = p.WorkerSettings(
            name="w1",
            worker_socket=str(tmp_path / "workers.sock"),
            api_socket=str(tmp_path / "api.sock"),
            listen_fd=listener.fileno(),
            log_dir=str(tmp_path),
            drain_seconds=1.0,
            cache_dir=str(tmp_path),
            kind="no such kind",
        )
        settings = msgspec.json.encode(told).decode()
        worker = loaded_by("modelward.worker", "--settings", settings, status=3, pass_fds=(listener.fileno(),))
    daemon = loaded_by("modelward.daemon", "run", "--config", str(tmp_path / "wrong.toml"), status=2)
    for modules in (daemon, worker):
        assert "structlog.dev" in modules and not [name for name in modules if name.startswith("rich.")]
