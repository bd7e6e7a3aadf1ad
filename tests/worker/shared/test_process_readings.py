"""What a process did is read from the kernel, with real processes."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.children import HANG, program
from tests.support import ended_after, eventually

from modelward.worker.shared.process_readings import read, size_of
from modelward.worker.shared.progress import moved
from modelward.worker.validate import machine_speed

LOOP = "while True: pass"


@pytest.fixture
def child(request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[bytes]]:
    with ended_after(subprocess.Popen(program(request.param))) as process:
        yield process


@pytest.mark.parametrize("child", [LOOP], indirect=True)
def test_a_loop_uses_cpu_time_and_a_stopped_one_is_seen_to_be_stopped(child: subprocess.Popen[bytes]) -> None:
    def cpu() -> float:
        return found.cpu_seconds if (found := read(child.pid)) else 0.0

    before = cpu()
    eventually(lambda: cpu() > before + 0.05)
    child.send_signal(signal.SIGSTOP)
    eventually(lambda: (found := read(child.pid)) is not None and found.state == "T")
    first, second = read(child.pid), read(child.pid)
    assert first is not None
    assert second is not None
    assert not moved(first, second)


@pytest.mark.parametrize("child", [HANG], indirect=True)
def test_a_process_that_waits_makes_no_progress(child: subprocess.Popen[bytes]) -> None:
    def still() -> bool:
        first, second = read(child.pid), read(child.pid)
        assert first is not None
        assert second is not None
        return second.state == "S" and not moved(first, second)

    eventually(still)


def test_the_thread_that_reads_does_not_count_as_running() -> None:
    mine = read(os.getpid())
    assert mine is not None
    assert mine.state == "R"
    other = read(os.getpid(), without=os.getpid())
    assert other is not None
    assert other.cpu_seconds >= mine.cpu_seconds > 0


def test_a_process_that_is_gone_has_no_reading(tmp_path: Path) -> None:
    process = subprocess.Popen(program("pass"))
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert read(process.pid) is None  # its zombie
    process.wait()
    assert read(process.pid) is None
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "stat").write_text("7 (a) b) S 1")
    assert read(7, tmp_path) is None


def test_the_size_of_a_directory_is_that_of_its_files(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 10)
    (tmp_path / "b").write_bytes(b"x" * 5)
    assert size_of(str(tmp_path)) == 15
    assert size_of(str(tmp_path / "nowhere")) == 0


def test_a_machine_is_as_slow_as_usual_or_slower() -> None:
    assert 1.0 <= machine_speed.slowness() <= machine_speed.MOST
