from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from tests.support import PATIENCE_SECONDS
from tests.worker.running import ROOT

from modelward.worker.shared.logs import (
    LINE_BYTES,
    PIPE_BYTES,
    LogFile,
    LogFiles,
    line_of,
)

WRITE_MANY = """
import sys
from pathlib import Path
from modelward.worker.shared.logs import LogFile, line_of
file, mark = LogFile(Path(sys.argv[1])), sys.argv[2]
for i in range(400):
    file.write(line_of({"mark": mark, "i": i, "text": mark * (i * 17 % 6000)}))
    if i % 50 == 0:
        file.reopen()
"""

FILL_THE_DISK = """
import resource, sys
from pathlib import Path
from modelward.worker.shared.logs import LogFile, line_of
file = LogFile(Path(sys.argv[1]))
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
file.write(line_of({"n": "before"}))
resource.setrlimit(resource.RLIMIT_FSIZE, (40, hard))
for i in range(5):
    file.write(line_of({"n": i, "text": "a line that is longer than what fits"}))
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
file.write(line_of({"n": "after"}))
"""


def python(code: str, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments], env={**os.environ, "PYTHONPATH": str(ROOT / ".imports")}
    )


def test_lines_of_several_processes_are_whole(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    children = [python(WRITE_MANY, str(path), mark) for mark in "abcd"]
    assert [child.wait(PATIENCE_SECONDS) for child in children] == [0] * 4
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(lines) == 1600
    for mark in "abcd":
        assert [line["i"] for line in lines if line["mark"] == mark] == list(range(400))


def test_a_full_disk_drops_lines_and_says_how_many(tmp_path: Path) -> None:
    path = tmp_path / "modelward.log"
    assert python(FILL_THE_DISK, str(path)).wait(PATIENCE_SECONDS) == 0
    before, torn, note, after = path.read_text().splitlines()
    assert json.loads(before) == {"n": "before"}
    assert torn.startswith('{"n":0')
    assert json.loads(note)["event"].startswith("dropped 5 lines: ")
    assert json.loads(after) == {"n": "after"}


def test_nothing_goes_to_a_renamed_file_after_reopening(tmp_path: Path) -> None:
    file = LogFile(tmp_path / "modelward.log", name_seconds=3600)
    file.write(b"1\n")
    (tmp_path / "modelward.log").rename(tmp_path / "modelward.log.1")
    file.write(b"2\n")
    file.reopen()
    file.write(b"3\n")
    assert (tmp_path / "modelward.log.1").read_bytes() == b"1\n2\n"
    assert (tmp_path / "modelward.log").read_bytes() == b"3\n"
    assert (tmp_path / "modelward.log").stat().st_mode & 0o777 == 0o640


def test_a_line_after_the_file_was_deleted_is_in_the_file_of_that_name(tmp_path: Path) -> None:
    path = tmp_path / "error.log"
    file = LogFile(path, name_seconds=3600)  # that its file has no name is seen at each line
    for line in (b"1\n", b"2\n", b"3\n"):
        assert file.write(line)
        assert path.read_bytes() == line
        path.unlink()


def test_a_renamed_file_gets_lines_until_another_could_be_opened_and_none_is_lost(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "error.log"
    file = LogFile(path, name_seconds=0)
    file.write(b"1\n")
    path.rename(tmp_path / "error.log.1")
    path.mkdir()  # nothing can be opened there
    file.write(b"2\n")
    trouble = f"cannot write {path}: Is a directory; lines go to the file that had this name"
    assert file.follow() == trouble and capfd.readouterr().err == f"{trouble}\n"
    path.rmdir()
    path.touch()
    file._retry_at = 0.0
    file.write(b"3\n")
    assert file.follow() == ""
    assert (tmp_path / "error.log.1").read_bytes() == b"1\n2\n"
    assert path.read_bytes() == b"3\n"
    assert file.dropped == 0


def followed(logs: LogFiles) -> list[str]:
    """What a look at the names of the files found."""
    found: list[str] = []
    logs.follow(found.extend)
    return found


def test_a_quiet_file_that_another_program_deleted_or_renamed_is_there_again_at_the_next_look(tmp_path: Path) -> None:
    logs = LogFiles(str(tmp_path), worker="w1")
    assert followed(logs) == []
    (tmp_path / "error.log").unlink()
    (tmp_path / "access.log").rename(tmp_path / "access.log.1")
    before = (tmp_path / "modelward.log").stat().st_ino
    assert followed(logs) == []
    assert sorted(os.listdir(tmp_path)) == ["access.log", "access.log.1", "error.log", "modelward.log"]
    assert (tmp_path / "modelward.log").stat().st_ino == before
    logs.access(path="/x", status=200)
    assert b"/x" in (tmp_path / "access.log").read_bytes() and not (tmp_path / "access.log.1").read_bytes()


def test_events_that_no_file_takes_go_to_standard_error_and_are_reported_until_one_does(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    logs = LogFiles(str(tmp_path / "logs"), worker="w1")
    logs.events.warning("nowhere to go")
    logs.access(path="/x", status=200)
    written = capfd.readouterr().err
    assert '"event":"nowhere to go"' in written and "/x" not in written
    assert any("error.log: No such file or directory; 1 lines were dropped" in trouble for trouble in followed(logs))
    (tmp_path / "logs").mkdir()
    for file in logs._files.values():
        file._retry_at = 0.0
    assert followed(logs) == []
    assert "dropped 1 lines" in (tmp_path / "logs/error.log").read_text()


def test_standard_error_that_nobody_reads_holds_up_nothing(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, True)
    code = """
import sys
from modelward.worker.shared.logs import LogFiles
logs = LogFiles(sys.argv[1], worker="w1")
for _ in range(100):
    logs.events.warning("x" * 10_000)
"""
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "nowhere")],
        stderr=writing,
        env={**os.environ, "PYTHONPATH": str(ROOT / ".imports")},
    )
    assert child.wait(PATIENCE_SECONDS) == 0
    os.close(writing)
    os.close(reading)


TO_STANDARD_OUTPUT = """
import sys
from modelward.worker.shared.logs import LogFiles
logs = LogFiles("-", worker="w1", background=True)
for number in range(2000):
    logs.events.info("x" * 3500, number=number)
sys.stderr.write(f"{logs.lost}\\n")
sys.stderr.flush()
sys.stdin.read(1)
logs.close(60)  # there is room again
logs.access(path="/x", status=200)
logs.events.error("the end", exception="y" * 9000 + "Cause")
logs.close(60)
"""


def test_standard_output_that_nobody_reads_holds_up_nothing_and_what_is_dropped_is_counted() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", TO_STANDARD_OUTPUT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT / ".imports")},
    ) as child:
        lost, out = _read_late(child)
    assert all(len(line) <= PIPE_BYTES for line in out)
    lines = [json.loads(line) for line in out]
    assert sum("number" in line for line in lines) == 2000 - lost
    told = [re.match(r"dropped (\d+) lines: nobody read standard output", line.get("event", "")) for line in lines[:-1]]
    assert sum(int(found[1]) for found in told if found) == lost
    access, end = (next(line for line in lines if key in line) for key in ("path", "exception"))
    assert access["log"] == "access" and access["status"] == 200
    assert end["exception"].endswith("Cause") and end["truncated"] > 9000


def _read_late(child: subprocess.Popen[bytes]) -> tuple[int, list[bytes]]:
    """How many lines were dropped before anything was read, and then all that comes."""
    assert child.stdin is not None and child.stdout is not None and child.stderr is not None
    lost = int(child.stderr.readline())  # it has logged everything, and nothing was read yet
    assert 0 < lost < 2000
    out: list[bytes] = []
    reader = threading.Thread(target=lambda: out.extend(child.stdout or ()))
    reader.start()
    child.stdin.write(b"\n")
    child.stdin.close()
    assert child.wait(PATIENCE_SECONDS) == 0
    reader.join()
    return lost, out


def test_lines_for_a_closed_standard_output_are_counted() -> None:
    reading, writing = os.pipe()
    stream = os.fdopen(writing, "w")
    file = LogFile(None, stream=stream)
    assert file.write(b"1\n")
    os.close(reading)
    assert not file.write(b"2\n") and file.dropped == 1
    stream.close()


def test_follows_no_link_and_waits_for_no_pipe(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"mine\n")
    (tmp_path / "link.log").symlink_to(tmp_path / "target")
    os.mkfifo(tmp_path / "pipe.log")
    reader = os.open(tmp_path / "pipe.log", os.O_RDONLY | os.O_NONBLOCK)
    for name in ("link.log", "pipe.log", "no/such/directory.log"):
        file = LogFile(tmp_path / name)
        file.write(b"x\n")
        assert file.dropped == 1
    os.close(reader)
    assert (tmp_path / "target").read_bytes() == b"mine\n"


def test_a_line_stays_one_line_whatever_is_in_it() -> None:
    line = line_of({"path": 'a\n{"forged": 1}\r\x00\u2028 \udcff', "text": "中文"})
    assert line.count(b"\n") == 1
    assert json.loads(line)["path"].startswith('a\n{"forged": 1}')
    assert "中文".encode() in line


def test_a_line_is_bounded() -> None:
    line = line_of({"event": "x", "text": "\x01" * LINE_BYTES, "n": 7})
    assert len(line) <= LINE_BYTES
    kept = json.loads(line)
    assert kept["event"] == "x" and kept["n"] == 7 and kept["truncated"] > LINE_BYTES
    assert len(line_of({str(i): "\x01" * 5000 for i in range(30)})) <= LINE_BYTES


def test_levels_go_to_their_files(tmp_path: Path) -> None:
    logs = LogFiles(str(tmp_path), worker="w7", level="debug")
    logs.events.debug("detail")
    logs.events.info("news", count=3)
    logs.events.warning("doubt")
    try:
        raise ValueError("broken")
    except ValueError:
        logs.events.exception("trouble")
    logs.access(path="/x", status=200)

    def events(name: str) -> list[str]:
        return [json.loads(line).get("event", "") for line in (tmp_path / name).read_text().splitlines()]

    assert events("modelward.log") == ["news", "doubt", "trouble"]
    assert events("error.log") == ["doubt", "trouble"]
    assert events("debug.log") == ["detail", "news", "doubt", "trouble"]
    news, *_ = [json.loads(line) for line in (tmp_path / "modelward.log").read_text().splitlines()]
    assert news["worker"] == "w7" and news["count"] == 3 and news["level"] == "info"
    assert len(news["time"]) == len("2026-01-01T00:00:00.000Z") and news["time"].endswith("Z")
    trouble = json.loads((tmp_path / "error.log").read_text().splitlines()[-1])
    assert "ValueError: broken" in trouble["exception"]


def test_debug_lines_are_not_kept_at_level_info(tmp_path: Path) -> None:
    logs = LogFiles(str(tmp_path), worker="w1")
    logs.events.debug("detail")
    logs.events.info("news")
    assert not (tmp_path / "debug.log").exists()
    assert "detail" not in (tmp_path / "modelward.log").read_text()
