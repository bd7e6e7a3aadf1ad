"""One daemon at a time, whatever ends it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.children import HANG
from tests.small_disk import run_on_small_disk
from tests.support import PATIENCE_SECONDS, eventually, modules

from modelward.daemon.errors import ModelwardError
from modelward.daemon.system.single_instance import alone

HOLDER = f"""
import subprocess, sys
from pathlib import Path
from modelward.daemon.system.single_instance import alone
with alone(Path(sys.argv[1])):
    child = subprocess.Popen([sys.executable, "-I", "-S", "-c", {HANG!r}], start_new_session=True)
    print(child.pid, flush=True)
    sys.stdin.read()
"""


def test_a_second_daemon_is_told_that_there_is_one(tmp_path: Path) -> None:
    with alone(tmp_path / "run"):
        with pytest.raises(ModelwardError, match="cannot start: another daemon runs in "), alone(tmp_path / "run"):
            pytest.fail("two at once")
        with alone(tmp_path / "elsewhere"):
            pass
    with alone(tmp_path / "run"):
        pass


def test_a_killed_daemons_workers_keep_nobody_out(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": modules()},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    with holder.stdin, holder.stdout:
        worker = int(holder.stdout.readline())
        with pytest.raises(ModelwardError), alone(tmp_path):
            pytest.fail("two at once")
        holder.kill()
        holder.wait(PATIENCE_SECONDS)
        try:
            eventually(lambda: Path(f"/proc/{worker}").exists())
            with alone(tmp_path):
                pass
        finally:
            os.kill(worker, signal.SIGKILL)


@pytest.mark.parametrize("trouble", ["a link", "a directory", "no directory"])
def test_a_lock_that_cannot_be_had_is_said_and_nothing_is_followed(tmp_path: Path, trouble: str) -> None:
    lock = tmp_path / "run" / "daemon.lock"
    if trouble == "no directory":
        lock.parent.touch()
    else:
        lock.parent.mkdir()
        lock.symlink_to(tmp_path / "victim") if trouble == "a link" else lock.mkdir()
    with pytest.raises(ModelwardError, match="cannot start: .*daemon.lock: "), alone(tmp_path / "run"):
        pytest.fail("it has no lock")
    assert not (tmp_path / "victim").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small disk")
@pytest.mark.parametrize("options", ["ro", "nr_inodes=1"])
def test_where_no_file_can_be_made_the_directory_itself_is_the_lock(tmp_path: Path, options: str) -> None:
    code = f"""
import subprocess, sys
from pathlib import Path
from modelward.daemon.errors import ModelwardError
from modelward.daemon.system.single_instance import alone
place = Path(sys.argv[1])
subprocess.run(["mount", "-o", "remount,{options}", place], check=True)
with alone(place):
    try:
        with alone(place):
            print("two at once")
    except ModelwardError as e:
        print(str(e).replace(str(place), "DISK"), [p.name for p in place.iterdir()])
with alone(place / "state", required=False):
    print("without")
"""
    assert run_on_small_disk(tmp_path, code).splitlines() == [
        "cannot start: another daemon runs in DISK []",
        "without",
    ]
