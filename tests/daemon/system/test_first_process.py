"""PID 1 of a container: every orphan is reaped, signals arrive, and the status is the daemon's. In real namespaces.

A few lines of Python stand for the daemon: what it does with its workers is of no matter here.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.support import PATIENCE_SECONDS, ended_after, eventually, modules

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it makes a namespace of processes")
pytestmark = [pytest.mark.system, ROOT_ONLY]
BEGIN = """
import os, signal, subprocess, sys, time
from pathlib import Path
from modelward.daemon.system import first_process
status = first_process.run()
if status is not None:
    sys.exit(status)
run = Path(sys.argv[1]) / "runs"
with open(run, "a") as file:
    file.write("x")
number = run.stat().st_size
def note(text):
    with open(Path(sys.argv[1]) / "notes", "a") as file:
        file.write(text + "\\n")
def orphan(seconds):
    subprocess.run(["sh", "-c", f"sleep {seconds} & :"], stdin=subprocess.DEVNULL)
def worker():
    code = "(trap 'sleep 0.1; echo drained >> $0; exit' TERM; echo began >> $0; while :; do sleep 1000 & wait; done) &"
    place = Path(sys.argv[1]) / "notes"
    subprocess.run(["sh", "-c", code, place])
    while not place.exists() or "began" not in place.read_text():
        time.sleep(0.01)
"""


@contextmanager
def container(tmp_path: Path, daemon: str) -> Iterator[subprocess.Popen[bytes]]:
    """`daemon` as the child of PID 1 of a namespace of its own; the process is the one that waits for PID 1."""
    command = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", sys.executable, "-c", BEGIN + daemon]
    with ended_after(
        subprocess.Popen([*command, tmp_path], env={**os.environ, "PYTHONPATH": modules()}, stderr=subprocess.PIPE)
    ) as process:
        yield process


def init_of(process: subprocess.Popen[bytes]) -> int:
    """PID 1, in our numbers."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return eventually(lambda: int((children.read_text().split() or ["0"])[0]))


def notes(tmp_path: Path) -> list[str]:
    place = tmp_path / "notes"
    return place.read_text().splitlines() if place.exists() else []


ENDS = {
    "its status": ("sys.exit(3)", 3),
    "that of a signal": ("os.kill(os.getpid(), 9)", 137),
    "also when its own child ended before": ("p = subprocess.run(['sh', '-c', 'exit 7']); sys.exit(p.returncode)", 7),
}


@pytest.mark.parametrize("end", ENDS)
def test_the_first_process_ends_with_the_status_of_the_daemon(tmp_path: Path, end: str) -> None:
    daemon, status = ENDS[end]
    with container(tmp_path, daemon) as process:
        assert process.wait(PATIENCE_SECONDS) == status
    assert (tmp_path / "runs").read_text() == "x"


def test_a_hundred_orphans_are_reaped_and_the_daemons_own_children_are_not(tmp_path: Path) -> None:
    daemon = """
own = subprocess.Popen(["sh", "-c", "exit 5"])
for _ in range(100):
    orphan(0)
while len(Path("/proc/1/task/1/children").read_text().split()) > 1:
    time.sleep(0.01)
sys.exit(own.wait())
"""
    with container(tmp_path, daemon) as process:
        assert process.wait(PATIENCE_SECONDS) == 5


def test_signals_reach_the_daemon_and_the_end_is_its_own(tmp_path: Path) -> None:
    daemon = """
numbers = [signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM, signal.SIGINT]
signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
note("ready")
while (number := signal.sigwait(numbers)) != signal.SIGINT:
    note(signal.Signals(number).name)
sys.exit(4)
"""
    with container(tmp_path, daemon) as process:
        init = init_of(process)
        eventually(lambda: notes(tmp_path) == ["ready"])
        sent = ["ready"]
        for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM):
            os.kill(init, number)
            sent.append(number.name)
            eventually(lambda: notes(tmp_path) == sent)
        os.kill(init, signal.SIGINT)
        assert process.wait(PATIENCE_SECONDS) == 4


def test_sigquit_starts_the_next_daemon_and_leaves_the_workers(tmp_path: Path) -> None:
    daemon = """
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGQUIT])
if number == 1:
    orphan(1000)
    note("first")
    signal.sigwait([signal.SIGQUIT])
    sys.exit(0)
note(subprocess.run(["pgrep", "-c", "sleep"], capture_output=True, text=True).stdout.strip())
"""
    with container(tmp_path, daemon) as process:
        init = init_of(process)
        eventually(lambda: notes(tmp_path) == ["first"])
        os.kill(init, signal.SIGQUIT)
        eventually(lambda: notes(tmp_path) == ["first", "1"])
        os.kill(init, signal.SIGTERM)  # of the second daemon, which has ended while a worker is left
        process.wait(PATIENCE_SECONDS)


def test_a_daemon_that_died_is_followed_by_the_next_one_while_workers_are_left(tmp_path: Path) -> None:
    daemon = """
if number == 1:
    orphan(1000)
    os.kill(os.getpid(), signal.SIGKILL)
subprocess.run(["pkill", "sleep"])
sys.exit(6)
"""
    with container(tmp_path, daemon) as process:
        assert process.wait(PATIENCE_SECONDS) == 6
        assert process.stderr is not None
        said = process.stderr.read().decode()
    assert '"event":"the daemon ended; its workers serve on, and the next daemon starts in 1 s"' in said
    assert '"status":137' in said
    assert (tmp_path / "runs").read_text() == "xx"


def test_an_output_that_nobody_reads_holds_nothing_up(tmp_path: Path) -> None:
    daemon = """
if number == 1:
    orphan(1000)
    os.set_blocking(2, False)
    try:
        while True:
            os.write(2, bytes(4096))
    except BlockingIOError:
        os.set_blocking(2, True)
    sys.exit(9)
subprocess.run(["pkill", "sleep"])
sys.exit(6)
"""
    with container(tmp_path, daemon) as process:
        assert process.wait(PATIENCE_SECONDS) == 6


@pytest.mark.parametrize("number", ["SIGTERM", "SIGKILL"])
def test_the_workers_of_a_daemon_that_dies_at_its_stop_drain_before_the_container_ends(
    tmp_path: Path, number: str
) -> None:
    daemon = f"""
worker()
if "{number}" == "SIGKILL":
    signal.signal(signal.SIGTERM, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
note("ready")
signal.pause()
"""
    with container(tmp_path, daemon) as process:
        init = init_of(process)
        eventually(lambda: notes(tmp_path) == ["began", "ready"])
        os.kill(init, signal.SIGTERM)
        assert process.wait(PATIENCE_SECONDS) == 128 + signal.Signals[number]
    assert notes(tmp_path) == ["began", "ready", "drained"]


def test_sigterm_ends_the_workers_also_while_no_daemon_runs(tmp_path: Path) -> None:
    daemon = """
if number == 1:
    worker()
    note("left")
sys.exit(9)
"""
    with container(tmp_path, daemon) as process:
        init = init_of(process)
        assert process.stderr is not None
        while b"starts in" not in process.stderr.readline():
            pass
        os.kill(init, signal.SIGTERM)
        assert process.wait(PATIENCE_SECONDS) == 9
    assert notes(tmp_path) == ["began", "left", "drained"]
    assert (tmp_path / "runs").read_text() == "x"
