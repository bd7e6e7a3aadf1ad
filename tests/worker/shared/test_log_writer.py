"""A disk that does not answer holds up the thread that writes logs, and nobody else."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.frozen_disk import freezing_disk
from tests.support import PATIENCE_SECONDS, eventually
from tests.worker.running import clip, digits, worker

from modelward.worker import protocol as p
from modelward.worker.shared.log_writer import LINE_COST, MOST_JOBS, LogWriter
from modelward.worker.shared.logs import LogFiles


class Disk:
    """Takes lines while it answers."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.answers = threading.Event()
        self.asked = threading.Event()

    def write(self, line: bytes) -> None:
        self.asked.set()
        assert self.answers.wait(PATIENCE_SECONDS)
        self.lines.append(line)


@pytest.fixture
def disk() -> Iterator[Disk]:
    disk = Disk()
    yield disk
    disk.answers.set()


def _writer(disk: Disk, lines: int) -> tuple[LogWriter, list[int]]:
    """One whose queue takes so many lines of one byte, and how many were missed each time."""
    missed: list[int] = []

    def note(count: int, seconds: float) -> None:
        missed.append(count)
        disk.lines.append(b"-%d" % count)

    return LogWriter(note, most_bytes=lines * (1 + LINE_COST)), missed


def test_who_logs_never_waits_and_what_finds_no_room_is_counted_and_told_at_its_place(disk: Disk) -> None:
    writer, _ = _writer(disk, lines=3)
    assert [writer.put(disk.write, b"%d" % n) for n in range(5)] == [True, True, True, False, False]
    assert writer.lost == 2 and not writer.flush(0.0)
    disk.answers.set()
    assert writer.flush(PATIENCE_SECONDS)
    assert disk.lines == [b"0", b"1", b"2", b"-2"]
    assert writer.put(disk.write, b"5") and writer.flush(PATIENCE_SECONDS)
    assert disk.lines[-1] == b"5" and writer.lost == 2


def test_a_job_is_done_after_the_lines_before_it_and_before_those_after_it(disk: Disk) -> None:
    writer, _ = _writer(disk, lines=9)
    writer.put(disk.write, b"1")
    writer.do(lambda: disk.lines.append(b"job"))
    writer.put(disk.write, b"2")
    assert not disk.lines
    disk.answers.set()
    assert writer.flush(PATIENCE_SECONDS)
    assert disk.lines == [b"1", b"job", b"2"]


def test_jobs_do_not_pile_up_while_the_disk_does_not_answer(disk: Disk) -> None:
    writer, _ = _writer(disk, lines=9)
    writer.put(disk.write, b"1")
    eventually(disk.asked.is_set)
    assert [writer.do(lambda: None) for _ in range(MOST_JOBS + 1)] == [True] * MOST_JOBS + [False]
    assert not writer.flush(0.0)


def test_a_write_that_fails_ends_nothing(disk: Disk, capfd: pytest.CaptureFixture[str]) -> None:
    def fails(line: bytes) -> None:
        raise RuntimeError("unexpected")

    disk.answers.set()
    writer, _ = _writer(disk, lines=9)
    writer.put(fails, b"1")
    writer.put(disk.write, b"2")
    assert writer.flush(PATIENCE_SECONDS)
    assert disk.lines == [b"2"] and "RuntimeError: unexpected" in capfd.readouterr().err


def test_lines_written_in_the_background_are_in_their_files_in_order_once_the_log_is_closed(tmp_path: Path) -> None:
    logs = LogFiles(str(tmp_path), worker="w1", background=True)
    for n in range(500):
        logs.access(n=n)
        logs.events.warning("news", n=n)
    assert logs.close(PATIENCE_SECONDS) and logs.lost == 0
    for name in ("access.log", "modelward.log", "error.log"):
        written = [json.loads(line)["n"] for line in (tmp_path / name).read_text().splitlines()]
        assert written == list(range(500)), name


def test_nothing_goes_to_the_old_file_once_the_writer_says_that_it_reopened(tmp_path: Path) -> None:
    logs, reopened = LogFiles(str(tmp_path), worker="w1", background=True), threading.Event()
    logs.access(n=1)
    assert logs.close(PATIENCE_SECONDS)
    (tmp_path / "access.log").rename(tmp_path / "access.log.1")
    logs.reopen(reopened.set)
    logs.access(n=2)
    assert reopened.wait(PATIENCE_SECONDS)
    before = (tmp_path / "access.log.1").read_bytes()
    logs.access(n=3)
    assert logs.close(PATIENCE_SECONDS)
    assert (tmp_path / "access.log.1").read_bytes() == before and before.count(b"\n") == 1
    assert [json.loads(line)["n"] for line in (tmp_path / "access.log").read_text().splitlines()] == [2, 3]


@pytest.mark.system
def test_a_worker_whose_log_disk_does_not_answer_answers_every_request_and_loses_no_line(tmp_path: Path) -> None:
    with freezing_disk(tmp_path) as disk:
        with worker(tmp_path / "w", digits(), log_dir=str(disk.place)) as running:
            client, audio = running.client(), clip("5551234")
            assert running.predict(client, audio).status_code == 200
            with disk.frozen():
                beats = len(running.daemon.told(p.Beat))
                for _ in range(20):
                    assert running.predict(client, audio).status_code == 200
                running.daemon.say(p.ReopenLogs())
                eventually(lambda: len(running.daemon.told(p.Beat)) > beats)
                assert running.predict(client, audio).status_code == 200
                assert not running.daemon.told(p.Reopened), "the old files are written to yet"
            running.daemon.wait_for(p.Reopened)
            assert running.end() == 0
        lines = [json.loads(line) for line in (disk.place / "access.log").read_text().splitlines()]
        assert [line["status"] for line in lines if line["path"] == "/api/predict"] == [200] * 22


@pytest.mark.system
def test_a_worker_that_leaves_waits_for_no_log_disk(tmp_path: Path) -> None:
    with freezing_disk(tmp_path) as disk, worker(tmp_path / "w", digits(), log_dir=str(disk.place)) as running:
        with disk.frozen():
            assert running.predict(running.client(), clip("5551234")).status_code == 200
            running.process.terminate()
            # Its main thread is gone; the kernel keeps the one that writes until the disk answers.
            eventually(lambda: "Z (zombie)" in Path(f"/proc/{running.process.pid}/status").read_text())
        assert running.process.wait(PATIENCE_SECONDS) == 0


@pytest.mark.system
def test_what_found_no_room_is_counted_and_logged_once_the_disk_answers(tmp_path: Path) -> None:
    with freezing_disk(tmp_path) as disk:
        logs = LogFiles(str(disk.place), worker="w1", background=True)
        assert logs.close(PATIENCE_SECONDS)
        with disk.frozen():
            for n in range(20_000):
                logs.access(n=n)
            lost = logs.lost
            assert lost
        assert logs.close(PATIENCE_SECONDS)
        assert logs.close(PATIENCE_SECONDS), "the note of what was dropped follows what was queued"
        written = [json.loads(line)["n"] for line in (disk.place / "access.log").read_text().splitlines()]
        assert written == list(range(20_000 - lost))
        note = json.loads((disk.place / "error.log").read_text())
        assert note["event"].startswith(f"dropped {lost} lines: the disk did not answer for ")
