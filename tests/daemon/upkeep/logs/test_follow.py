"""Following a log file: each line once, across every way of rotation."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest
from tests.daemon.upkeep.clocks import HandClock
from tests.support import eventually

from modelward.daemon.upkeep.fs_port import FileSystemPort
from modelward.daemon.upkeep.logs.follow import POLL_BYTES, Follower
from modelward.daemon.upkeep.logs.rotation_outcome import LogSet
from modelward.daemon.upkeep.logs.rotation_policy import RotationPolicy
from modelward.daemon.upkeep.logs.rotator import Rotator
from modelward.daemon.upkeep.logs.tail import (
    ANSWER_BYTES,
    LINE_BYTES,
    LOOK_BACK_BYTES,
    last,
    tail,
)


def append(path: Path, *lines: str) -> None:
    with open(path, "a") as log:
        log.write("".join(f"{line}\n" for line in lines))


def follow(path: Path, lines: int = 0) -> Follower:
    return Follower(str(path), lines=lines)


def rotate(directory: Path, method: str) -> None:
    sets = [LogSet(str(directory), ("a.log",), RotationPolicy(method=method))]
    outcome = Rotator(FileSystemPort(), HandClock(), threading.Event()).rotate(sets, force=True)
    if any("cannot collapse a file" in t for t in outcome.trouble):
        pytest.skip("the file system of the test directory cannot collapse files")
    assert any(step.action == "rotated" for step in outcome.steps)


@pytest.mark.parametrize("lines", [0, 1, 3, 100])
def test_shows_the_last_lines(tmp_path: Path, lines: int) -> None:
    path = tmp_path / "a.log"
    append(path, "one", "two", "three", "four")
    expected = ["one", "two", "three", "four"][-lines:] if lines else []
    assert tail(str(path), lines).lines == expected
    follower = follow(path, lines)
    assert [line.decode() for line in follower.first] == expected
    follower.close()


def test_shows_the_end_of_a_large_file_without_reading_it_all(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    with open(path, "wb") as log:
        log.truncate(200 << 20)
    append(path, "", *(f"line {i}" for i in range(5000)))
    assert tail(str(path), 3).lines == ["line 4997", "line 4998", "line 4999"]


def test_bytes_that_are_no_text_are_shown_as_such(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_bytes(b"\xff\xfe\n")
    assert tail(str(tmp_path / "a.log"), 1).lines == ["\ufffd\ufffd"]


def test_a_line_is_shown_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_text("")
    follower = follow(path)
    with open(path, "a", buffering=1) as log:
        log.write("half")
        log.flush()
        assert follower.poll() == []
        log.write(" and half\n")
    assert follower.poll() == [b"half and half"]
    follower.close()


def test_a_renamed_file_is_read_to_the_end_that_its_writers_make(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    append(path, "before")
    follower = follow(path, 5)
    seen = list(follower.first)
    with open(path, "a", buffering=1) as late:
        rotate(tmp_path, "rename")
        append(path, "in the new file")
        late.write("late in the old file\n")
        seen += follower.poll()
    eventually(lambda: seen.extend(follower.poll()) or b"in the new file" in seen)
    assert seen == [b"before", b"late in the old file", b"in the new file"]
    follower.close()


def test_a_collapsed_file_is_read_on_where_it_was(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    follower = follow(path)
    seen: list[bytes] = []
    for turn in range(5):
        append(path, *(f"{turn}-{i:05d}" for i in range(2000)))
        seen += follower.poll()
        append(path, *(f"{turn}-more-{i}" for i in range(5)))
        rotate(tmp_path, "collapse")
        seen += follower.poll()
    wanted = [
        line.encode()
        for turn in range(5)
        for line in (*(f"{turn}-{i:05d}" for i in range(2000)), *(f"{turn}-more-{i}" for i in range(5)))
    ]
    assert seen == wanted
    follower.close()


def test_a_truncated_file_is_read_from_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    append(path, "a long line that goes away")
    follower = follow(path)
    os.truncate(path, 0)
    append(path, "new")
    assert follower.poll() == [b"new"]
    follower.close()


def test_a_file_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    follower = follow(path)
    assert follower.poll() == []
    append(path, "first")
    assert follower.poll() == [b"first"]
    follower.close()


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "a.log").symlink_to("/etc/passwd")
    with pytest.raises(OSError, match="symbolic link"):
        follow(tmp_path / "a.log")


def test_a_line_without_end_is_cut_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(b"\x01" * (60 << 20))
    found = tail(str(path), 1)
    assert found.truncated and len(found.lines) == 1
    assert found.lines[0] == "[the line begins before this] " + "\x01" * LINE_BYTES
    append(path, "", "next")
    assert tail(str(path), 1).lines == ["next"] and not tail(str(path), 1).truncated


def test_a_long_line_is_cut_and_says_how_much_is_missing() -> None:
    found = last(b"x" * (LINE_BYTES + 2048) + b"\nshort\n", 5, begins=True)
    assert found.truncated
    assert found.lines == ["x" * LINE_BYTES + " [2KiB more of this line]", "short"]


@pytest.mark.parametrize("piece", [b"\x01", b"\xff", b'"', b"\\", b"a", "\N{DROMEDARY CAMEL}".encode(), b"\x00"])
def test_an_answer_has_a_size_whatever_the_lines_hold(piece: bytes) -> None:
    line = piece * (LINE_BYTES // len(piece))
    data = b"\n".join([line] * (LOOK_BACK_BYTES // len(line)))
    found = last(data, 5000, begins=False)
    assert found.truncated and len(found.lines) >= 1
    assert len(json.dumps(found.lines, ensure_ascii=False).encode()) <= ANSWER_BYTES + 2


def test_what_is_followed_is_read_a_piece_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.touch()
    follower = follow(path)
    line = b"y" * 1023 + b"\n"
    path.write_bytes(line * (2 * POLL_BYTES // 1024))
    counts = []
    while got := follower.poll():
        counts.append(len(got))
    assert sum(counts) == 2 * POLL_BYTES // 1024 and max(counts) <= POLL_BYTES // 1024 + 1
    follower.close()
