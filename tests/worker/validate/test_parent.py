"""A validator does not outlive whoever wants its verdict."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from tests.support import ended_after, eventually, modules
from tests.versions import broken_version

from modelward.worker.child_protocol import Candidate

PARENT = """
import subprocess, sys
argv = [sys.executable, "-m", "modelward.worker.validate"]
child = subprocess.Popen(argv, stdin=subprocess.PIPE, start_new_session=True)
child.stdin.write(sys.stdin.buffer.read())
child.stdin.close()
print(child.pid, flush=True)
child.wait()
"""


@pytest.mark.system
def test_ends_when_the_daemon_is_killed(tmp_path: Path) -> None:
    endless = broken_version(tmp_path / "models", "endless_loop")
    (tmp_path / "given").mkdir()
    candidate = Candidate(str(endless), endless.name, directory=str(tmp_path / "given"), timeout_seconds=100)
    environment = {**os.environ, "PYTHONPATH": modules(), "TMPDIR": str(tmp_path)}
    command, pipe = [sys.executable, "-c", PARENT], subprocess.PIPE
    with ended_after(subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe)) as parent:
        assert parent.stdin is not None and parent.stdout is not None
        parent.stdin.write(msgspec.json.encode(candidate))
        parent.stdin.close()
        pid = int(next(line for line in parent.stdout if line.strip().isdigit()))
        eventually(lambda: b"onnxruntime" in Path(f"/proc/{pid}/maps").read_bytes())
        parent.send_signal(signal.SIGKILL)
    eventually(lambda: _gone(pid))


def _gone(pid: int) -> bool:
    try:
        return b") Z" in Path(f"/proc/{pid}/stat").read_bytes()
    except FileNotFoundError:
        return True
