"""What tests are built on holds when a test fails."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest
from tests.children import IGNORES_SIGTERM, program
from tests.support import ended_after


def test_a_process_of_a_test_that_fails_is_dead_and_nobody_waits_for_its_end(tmp_path: Path) -> None:
    process = subprocess.Popen(program(IGNORES_SIGTERM, str(tmp_path / "ready")), stdout=subprocess.PIPE)
    with pytest.raises(RuntimeError, match="the test fails"), ended_after(process):
        raise RuntimeError("the test fails")
    assert process.returncode == -signal.SIGKILL


def test_a_process_that_ended_by_itself_keeps_its_status() -> None:
    with ended_after(subprocess.Popen(program("raise SystemExit(7)"))) as process:
        assert process.wait() == 7
    assert process.returncode == 7
