"""Lines taken from the head of a file that others append to: all there, once, in order, whatever happens."""

from __future__ import annotations

import errno
import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.daemon.upkeep.clocks import HandClock
from tests.faults import READING, Faults, dies_in_a_child
from tests.support import PATIENCE_SECONDS

from modelward.daemon.upkeep.fs_port import FileSystemPort
from modelward.daemon.upkeep.logs import collapse as collapsing
from modelward.daemon.upkeep.logs import collapse_marker
from modelward.daemon.upkeep.logs.collapse import (
    Spared,
    Unsupported,
    collapse,
)
from modelward.daemon.upkeep.logs.rotation_outcome import LogSet
from modelward.daemon.upkeep.logs.rotation_policy import RotationPolicy
from modelward.daemon.upkeep.logs.rotator import Rotator

NAME = "app.log"
STAMPS = [f"20260102T0304{i:02d}.000000Z" for i in range(60)]


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        if not collapsing.block_of(fd, f"{NAME}.{STAMPS[0]}", FileSystemPort()):
            pytest.skip("the file system of the test directory cannot collapse files")
    finally:
        os.close(fd)
    return tmp_path


def do(directory: Path, turn: int = 0, files: FileSystemPort | None = None) -> collapsing.Collapsed:
    fd = os.open(directory, os.O_RDONLY)
    try:
        return collapse(fd, NAME, f"{NAME}.{STAMPS[turn]}", files or FileSystemPort(), threading.Event())
    finally:
        os.close(fd)


def tidy(directory: Path) -> list[str]:
    sets = [LogSet(str(directory), (NAME,), RotationPolicy(method="collapse"))]
    outcome = Rotator(FileSystemPort(), HandClock(), threading.Event()).tidy(sets)
    assert not outcome.trouble
    return [step.because for step in outcome.steps]


def lines_of(directory: Path) -> list[bytes]:
    """All lines of the archives in order, then those of the live file; blank ones are passed over."""
    found = [*sorted(p for p in directory.iterdir() if p.name != NAME), directory / NAME]
    assert all(p.name == NAME or not p.name.endswith((".part", ".head")) for p in found), found
    return [line for p in found for line in p.read_bytes().split(b"\n") if line.strip()]


def append(directory: Path, data: bytes) -> None:
    with open(directory / NAME, "ab") as out:
        out.write(data)


SHAPES: dict[str, Callable[[int], bytes]] = {
    "short lines": lambda i: b"%06d\n" % i,
    "lines that fit blocks exactly": lambda i: b"%063d\n" % i,
    "all lines alike": lambda i: b"ping\n",
    "long lines": lambda i: b"%06d" % i + b"x" * 9000 + b"\n",
    "lines of any length": lambda i: b"%06d" % i + b"y" * random.Random(i).randrange(600) + b"\n",
    "blank-looking lines": lambda i: b"%06d\n" % i if i % 3 else b"\t  \t\t \t " + b" " * 200 + b".\n",
}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_line_is_there_once_and_in_order_after_many_collapses(logs: Path, shape: str) -> None:
    written: list[bytes] = []
    for turn in range(6):
        fresh = [SHAPES[shape](turn * 1000 + i) for i in range(1000)]
        append(logs, b"".join(fresh))
        written += fresh
        do(logs, turn)
    assert lines_of(logs) == [line[:-1] for line in written]
    for archive in logs.iterdir():
        if archive.name != NAME:
            data = archive.read_bytes()
            assert data.endswith(b"\n"), "an archive holds whole lines"
            assert collapse_marker.read_mark(data) is None, "an archive holds no mark"


def test_the_live_file_becomes_shorter_than_a_block_and_a_few_lines(logs: Path) -> None:
    append(logs, b"".join(b"%06d\n" % i for i in range(100_000)))
    done = do(logs)
    left = (logs / NAME).stat().st_size
    assert done.taken_bytes == 700_000 - left
    assert left < 4096 + collapse_marker.LENGTH + 100


def test_the_writer_keeps_its_descriptor_and_its_inode(logs: Path) -> None:
    with open(logs / NAME, "ab", buffering=0) as writer:
        writer.write(b"".join(b"%06d\n" % i for i in range(2000)))
        inode = os.fstat(writer.fileno()).st_ino
        do(logs)
        writer.write(b"after\n")
    assert (logs / NAME).stat().st_ino == inode
    assert lines_of(logs) == [b"%06d" % i for i in range(2000)] + [b"after"]


def test_an_unfinished_line_stays_with_its_writer(logs: Path) -> None:
    append(logs, b"".join(b"%06d\n" % i for i in range(2000)) + b"unfinished")
    do(logs)
    append(logs, b" business\n")
    assert lines_of(logs)[-1] == b"unfinished business"


def test_a_file_without_a_newline_is_spared(logs: Path) -> None:
    append(logs, b"x" * 100_000)
    with pytest.raises(Spared, match="whole lines"):
        do(logs)
    assert (logs / NAME).read_bytes() == b"x" * 100_000
    assert [p.name for p in logs.iterdir()] == [NAME]


def test_a_file_smaller_than_a_block_is_spared(logs: Path) -> None:
    append(logs, b"one\ntwo\n")
    with pytest.raises(Spared, match="less than a block"):
        do(logs)


def test_a_second_collapse_right_away_is_spared(logs: Path) -> None:
    append(logs, b"".join(b"%06d\n" % i for i in range(2000)))
    do(logs)
    with pytest.raises(Spared):
        do(logs, 1)


def test_a_writer_without_append_is_refused_for_it_would_leave_a_hole(logs: Path) -> None:
    append(logs, b"".join(b"%06d\n" % i for i in range(2000)))
    script = f"import sys; f = open({str(logs / NAME)!r}, 'r+b'); print('ready', flush=True); sys.stdin.read()"
    child = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout is not None and child.stdin is not None
    assert child.stdout.readline() == b"ready\n"
    try:
        with pytest.raises(Spared, match=f"process {child.pid} writes to it without O_APPEND"):
            do(logs)
    finally:
        child.stdin.close()
        child.wait(PATIENCE_SECONDS)
        child.stdout.close()
    assert do(logs).archived_bytes > 0


@pytest.mark.parametrize("shape", ["short lines", "lines that fit blocks exactly", "lines of any length"])
def test_a_crash_at_any_call_leaves_every_line_once(logs: Path, shape: str) -> None:
    many = max(20, 20_000 // len(SHAPES[shape](1)))
    append(logs, b"".join(SHAPES[shape](i) for i in range(many)))
    do(logs, 0)
    expected = [SHAPES[shape](i)[:-1] for i in range(many)]
    turn = at = 0
    died = True
    while died:
        at, turn = at + 1, (turn + 1) % 59
        fresh = [SHAPES[shape](1000 * (turn + 1) + i) for i in range(many // 4)]
        append(logs, b"".join(fresh))
        expected += [line[:-1] for line in fresh]
        died = dies_in_a_child(lambda files, turn=turn: _quietly(logs, turn, files), at)
        tidy(logs)
        assert lines_of(logs) == expected, f"after dying at call {at}"
    assert at > 15, "the child died at many places"


def _quietly(logs: Path, turn: int, files: FileSystemPort) -> None:
    try:
        do(logs, turn, files)
    except Spared:
        return


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_an_error_at_any_writing_call_leaves_every_line_once(logs: Path, number: int) -> None:
    only = frozenset(f for f in FileSystemPort.__slots__ if f not in READING)
    expected: list[bytes] = []
    turn = 0
    failed = True
    while failed:
        turn += 1
        fresh = [b"%06d %06d\n" % (turn, i) for i in range(900)]
        append(logs, b"".join(fresh))
        expected += [line[:-1] for line in fresh]
        faults = Faults(turn, OSError(number, os.strerror(number)), only)
        try:
            do(logs, turn, faults.files)
        except OSError as e:
            assert e.errno == number
        failed = faults.reached
        tidy(logs)
        assert lines_of(logs) == expected, f"after {os.strerror(number)} at call {turn}"
    assert turn > 8


def test_a_file_system_that_cannot_collapse_is_said_so_and_nothing_is_touched(tmp_path: Path) -> None:
    append(tmp_path, b"".join(b"%06d\n" % i for i in range(2000)))
    faults = Faults(1, OSError(errno.EOPNOTSUPP, "no"), frozenset({"collapse_head"}), lasting=True)
    with pytest.raises(Unsupported, match="ext4 and XFS can"):
        do(tmp_path, 0, faults.files)
    assert [p.name for p in tmp_path.iterdir()] == [NAME]
