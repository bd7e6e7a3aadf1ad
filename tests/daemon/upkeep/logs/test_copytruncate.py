"""Copying and truncating, for file systems that cannot collapse and programs that do not append."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.daemon.upkeep.clocks import HandClock
from tests.support import PATIENCE_SECONDS

from modelward.daemon.upkeep.fs_port import FileSystemPort
from modelward.daemon.upkeep.logs.copytruncate import data_pieces, truncate_after_copy
from modelward.daemon.upkeep.logs.follow import Follower
from modelward.daemon.upkeep.logs.rotation_outcome import LogSet, RotationOutcome
from modelward.daemon.upkeep.logs.rotation_policy import RotationPolicy
from modelward.daemon.upkeep.logs.rotator import TO_APPEND, Rotator

NAME, ARCHIVE = "app.log", "app.log.20260102T030400.000000Z"
OVERWRITER = """
import sys
log = open(sys.argv[1], "wb", buffering=0)  # as the shell does for >
print("ready", flush=True)
for word in sys.stdin:
    log.write(b"".join(b"%s-%05d\\n" % (word.strip().encode(), i) for i in range(5000)))
    print("written", flush=True)
"""
Write = Callable[[str], list[bytes]]


@pytest.fixture
def overwriter(tmp_path: Path) -> Iterator[tuple[int, Write]]:
    """A program that does not append: its pid, and what has it write 5000 lines."""
    tmp_path.chmod(0o750)
    argv = [sys.executable, "-c", OVERWRITER, str(tmp_path / NAME)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None and child.stdout is not None
        stdin, stdout = child.stdin, child.stdout
        assert stdout.readline() == b"ready\n"

        def write(word: str) -> list[bytes]:
            stdin.write(f"{word}\n".encode())
            stdin.flush()
            assert stdout.readline() == b"written\n"
            return [f"{word}-{i:05d}".encode() for i in range(5000)]

        yield child.pid, write
        stdin.close()
        child.wait(PATIENCE_SECONDS)


def rotate(directory: Path, *, copytruncate: bool, most_bytes: int = 4096) -> RotationOutcome:
    policy = RotationPolicy(
        max_size_bytes=most_bytes, method="collapse", compress="none", truncate_if_unsupported=copytruncate
    )
    rotator = Rotator(FileSystemPort(), HandClock(), threading.Event())
    return rotator.rotate([LogSet(str(directory), (NAME,), policy)])


def archived(directory: Path) -> list[bytes]:
    return b"".join(path.read_bytes() for path in sorted(directory.glob(f"{NAME}.*"))).splitlines()


def test_a_program_that_does_not_append_is_named_with_the_way_out_and_its_log_left(
    tmp_path: Path, overwriter: tuple[int, Write]
) -> None:
    pid, write = overwriter
    write("a")
    [trouble] = rotate(tmp_path, copytruncate=False).trouble
    assert trouble == (
        f"cannot collapse {tmp_path}/{NAME}: process {pid} writes to it without O_APPEND and would leave a hole; "
        f"it keeps growing; {TO_APPEND}"
    )
    assert os.listdir(tmp_path) == [NAME]


def test_with_copytruncate_its_log_takes_no_more_room_than_what_came_since_and_each_line_is_kept(
    tmp_path: Path, overwriter: tuple[int, Write]
) -> None:
    _, write = overwriter
    log, wanted, seen = tmp_path / NAME, list[bytes](), list[bytes]()
    follower = Follower(str(log))
    for word in ("a", "b", "c"):
        wanted += write(word)
        seen += follower.poll()
        assert not rotate(tmp_path, copytruncate=True).trouble
        seen += follower.poll()
        assert archived(tmp_path) == wanted and log.stat().st_blocks == 0
    write("d")
    seen += follower.poll()
    assert seen[: len(wanted)] == wanted and len(seen) == len(wanted) + 5000
    follower.close()
    assert log.stat().st_size > 3 * 40_000 and log.stat().st_blocks * 512 < 80_000
    [step] = rotate(tmp_path, copytruncate=True, most_bytes=100_000).steps
    assert step.action == "spared" and step.because.endswith("nothing due") and step.bytes < 80_000


def test_holes_that_another_rotation_left_are_reported_with_their_cause(tmp_path: Path) -> None:
    tmp_path.chmod(0o750)
    with open(tmp_path / NAME, "wb") as log:
        log.seek(1 << 20)
        log.write(b"line\n" * 2000)
    [trouble] = rotate(tmp_path, copytruncate=False).trouble
    assert "it has holes: of 1" in trouble and "as a program leaves them that does not append" in trouble
    assert trouble.endswith(TO_APPEND)


def test_pieces_leave_out_holes_and_the_zeros_beside_them(tmp_path: Path) -> None:
    path = tmp_path / NAME
    with open(path, "wb") as log:
        for offset in (100_001, 900_009):
            log.seek(offset)
            log.write(b"line\n")
    fd = os.open(path, os.O_RDONLY)
    first, second = data_pieces(fd, 900_014, FileSystemPort())
    os.close(fd)
    assert first[0] == 100_001 and 100_006 <= first[1] < 110_000 and second == (900_009, 900_014)


def test_truncating_after_a_copy_archives_everything_that_was_there(tmp_path: Path) -> None:
    lines = [b"%06d" % i for i in range(2000)]
    (tmp_path / NAME).write_bytes(b"\n".join(lines) + b"\n")
    fd = os.open(tmp_path, os.O_RDONLY)
    truncate_after_copy(fd, NAME, ARCHIVE, FileSystemPort(), threading.Event())
    os.close(fd)
    with open(tmp_path / NAME, "ab") as log:
        log.write(b"after\n")
    assert archived(tmp_path) == lines
    assert (tmp_path / NAME).read_bytes() == b"after\n"
