"""Asking for writers does the writers no harm, nor us."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support import PATIENCE_SECONDS

from modelward.daemon.models.write_lease import open_for_writing


def test_refuses_to_tell_of_anything_but_a_regular_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/null")
    for path in (tmp_path / "pipe", tmp_path / "link", tmp_path, Path("/dev/null")):
        assert open_for_writing(str(path)) is None


def test_a_file_that_is_gone_raises(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_for_writing(str(tmp_path / "none"))


def test_sees_a_writer_in_another_process(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    code = "import sys; f = open(sys.argv[1], 'a'); print('open', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code, tmp_path / "a"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"open\n"
        assert open_for_writing(str(tmp_path / "a")) is True
        other.communicate(timeout=PATIENCE_SECONDS)
    assert open_for_writing(str(tmp_path / "a")) is False


def test_writers_that_come_in_between_neither_fail_nor_end_us(tmp_path: Path) -> None:
    """Default signal dispositions, in a child: the kernel's word that a lease is broken would end it by SIGIO."""
    (tmp_path / "a").write_text("x")
    code = """
import sys, threading
from modelward.daemon.models.write_lease import open_for_writing
done = threading.Event()
def write():
    for _ in range(3000):
        open(sys.argv[1], "a").close()
    done.set()
threading.Thread(target=write).start()
asked = 0
while not done.is_set():
    open_for_writing(sys.argv[1]); asked += 1
print(asked)
"""
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3] / ".imports")}
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "a"], env=env, capture_output=True, timeout=PATIENCE_SECONDS, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout) > 10
