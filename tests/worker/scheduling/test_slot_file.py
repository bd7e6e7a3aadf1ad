from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
from tests.support import PATIENCE_SECONDS, eventually
from tests.worker.running import ROOT

from modelward.worker.scheduling.fairness import mark
from modelward.worker.scheduling.slot_file import DATAGRAMS, Board


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file for two slots."""
    path = tmp_path / "slots"
    path.touch()
    os.truncate(path, 2)
    return path


@contextmanager
def boards(path: Path, count: int) -> Iterator[list[Board]]:
    with ExitStack() as stack:
        made = []
        for _ in range(count):
            made.append(Board(str(path)))
            stack.callback(made[-1].close)
        yield made


def test_a_slot_is_one_workers_at_a_time_and_there_are_as_many_as_the_file_is_long(path: Path) -> None:
    with boards(path, 3) as (a, b, c):
        assert [a.count(), b.count()] == [2, 2]
        one, two = a.take(()), b.take(())
        assert {one, two} == {0, 1}
        assert c.take(()) is None and not c.has_free(())
        assert one is not None
        a.free(one)
        assert c.has_free(()) and c.take(()) == one
        os.truncate(path, 3)
        assert a.take(()) == 2


def test_one_worker_may_have_all_of_them(path: Path) -> None:
    with boards(path, 2) as (a, b):
        held: list[int] = []
        while (slot := a.take(held)) is not None:
            held.append(slot)
        assert sorted(held) == [0, 1]
        assert not a.has_free(held) and not b.has_free(()) and b.take(()) is None
        a.free(1)
        assert b.take(()) == 1 and a.take([0]) is None


def test_sees_all_others_in_the_line_and_not_itself(path: Path) -> None:
    with boards(path, 4) as (a, b, c, d):
        marks = [mark(since * 1_000_000, board.number) for since, board in ((9, a), (5, b), (7, c))]
        for board, at in zip((a, b, c), marks, strict=True):
            board.stand(at)
        assert sorted(d.line()) == sorted(marks)
        assert sorted(a.line()) == sorted(marks[1:])
        b.step_out(marks[1])
        assert sorted(d.line()) == sorted([marks[0], marks[2]])
        d.take(())  # no slot is taken for somebody who waits
        assert sorted(a.line()) == [marks[2]]


def test_wakes_whom_the_mark_names(path: Path) -> None:
    with boards(path, 2) as (a, b):
        a.wake(mark(1, b.number))
        assert b.bell.recv(8) == b"."
        with pytest.raises(BlockingIOError):
            a.bell.recv(8)
        for _ in range(10 * DATAGRAMS):
            a.wake(mark(1, b.number))  # more than its socket takes: it never blocks
        b.clear_wake()
        a.wake(mark(1, 4000))


def test_a_killed_workers_slot_place_and_number_are_free_at_once(path: Path) -> None:
    program = (
        "import sys, time; from modelward.worker.scheduling.slot_file import Board; b = Board(sys.argv[1]); "
        "b.take(()); b.stand(b.number); print(b.number, flush=True); time.sleep(60)"
    )
    with boards(path, 1) as (a,):
        child = subprocess.Popen(
            [sys.executable, "-c", program, str(path)],
            env={**os.environ, "PYTHONPATH": str(ROOT / ".imports")},
            stdout=subprocess.PIPE,
        )
        with child, suppress(ProcessLookupError):
            assert child.stdout is not None
            number = int(child.stdout.readline())
            assert a.take(()) is not None and not a.has_free(range(2)) and a.line() == [number]
            assert a.take([0, 1]) is None
            child.send_signal(signal.SIGKILL)
            child.wait(PATIENCE_SECONDS)
            eventually(lambda: a.line() == [])
        with boards(path, 1) as (successor,):
            assert successor.number == number  # in spite of the socket that was left lying
            assert successor.take(()) is not None


def test_tells_when_the_file_is_gone(path: Path) -> None:
    with boards(path, 1) as (a,):
        path.unlink()
        assert a.count() == 0
        assert a.take(()) is None
    with pytest.raises(FileNotFoundError):
        Board(str(path))


@pytest.mark.parametrize("kind", ["link", "directory", "pipe", "socket"])
def test_takes_no_other_kind_of_file(tmp_path: Path, kind: str) -> None:
    place = tmp_path / "slots"
    with socket.socket(socket.AF_UNIX) as listener:
        match kind:
            case "link":
                (tmp_path / "elsewhere").write_bytes(b"..")
                place.symlink_to(tmp_path / "elsewhere")
            case "directory":
                place.mkdir()
            case "pipe":
                os.mkfifo(place)
            case "socket":
                listener.bind(str(place))
        with pytest.raises(OSError):
            Board(str(place))


def test_leaves_nothing_lying_when_it_ends_in_order(path: Path) -> None:
    board = Board(str(path))
    board.unlink()
    board.close()
    assert [entry.name for entry in path.parent.iterdir()] == ["slots"]
