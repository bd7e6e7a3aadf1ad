"""Following a log file: each line once, across every way of rotation."""

from __future__ import annotations

import errno
import json
import os
import threading
from pathlib import Path

import pytest
from tests.daemon.upkeep.clocks import HandClock
from tests.support import eventually, open_paths

from modelward.daemon.upkeep.fs_port import FileSystemPort
from modelward.daemon.upkeep.logs.copytruncate import truncate_after_copy
from modelward.daemon.upkeep.logs.follow import POLL_BYTES, Follower
from modelward.daemon.upkeep.logs.log_reader import opened
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


def rotate(directory: Path, method: str, *, compress: str = "none", keep: int = 0) -> None:
    sets = [
        LogSet(
            str(directory),
            ("a.log",),
            RotationPolicy(
                method="collapse" if method == "copytruncate" else method,
                compress=compress,
                keep=keep,
                truncate_if_unsupported=method == "copytruncate",
            ),
        )
    ]
    rotator = Rotator(FileSystemPort(), HandClock(), threading.Event())
    outcome = rotator.rotate(sets, force=True)
    if compress != "none":
        assert not rotator.compress(sets, reopened=True).trouble
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


@pytest.mark.parametrize("compress", ["none", "gzip", "zstd"])
@pytest.mark.parametrize("method", ["rename", "collapse"])
def test_lines_of_several_rotations_between_two_looks_are_all_shown(tmp_path: Path, method: str, compress: str) -> None:
    if compress == "zstd":
        pytest.importorskip("zstandard")
    path = tmp_path / "a.log"
    append(path, "before")
    follower = follow(path, 1)
    seen, wanted = list(follower.first), [b"before"]
    for turn in range(3):
        for step in range(turn + 1):
            lines = [f"{turn}-{step}-{i:05d}" for i in range(2000)]
            append(path, *lines)
            wanted += [line.encode() for line in lines]
            if step == 1:
                seen += follower.poll()  # in the middle of what the next rotation takes
                append(path, f"{turn}-more")
                wanted.append(f"{turn}-more".encode())
            rotate(tmp_path, method, compress=compress)
        append(path, f"{turn}-live")
        wanted.append(f"{turn}-live".encode())
        seen += follower.poll()
        while follower.behind:
            seen += follower.poll()
    assert seen == wanted and not follower.remarks
    follower.close()


def test_an_archive_that_is_dropped_unread_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    for turn in range(2):
        append(path, f"{turn}")
        rotate(tmp_path, "rename")
    dropped, _ = sorted(tmp_path.glob("a.log.*"))
    follower = Follower(str(path), since=0.0)
    dropped.unlink()
    assert follower.poll() == [b"1"]
    assert follower.remarks == [f"{dropped} was removed before it was read; its lines are left out"]
    follower.close()


def test_a_damaged_archive_is_reported_and_the_rest_is_shown(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    append(path, "in the archive")
    rotate(tmp_path, "rename", compress="gzip")
    append(path, "after it")
    [archive] = tmp_path.glob("a.log.*.gz")
    archive.write_bytes(archive.read_bytes()[:15])
    follower = Follower(str(path), since=0.0)
    assert follower.poll() == [b"after it"]
    assert "ended before" in follower.remarks[0] and str(archive) in follower.remarks[0]
    follower.close()


def test_the_last_lines_come_from_archives_when_the_live_file_has_too_few(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    for compress in ("none", "gzip"):
        append(path, *(f"{compress}-{i}" for i in range(3)))
        rotate(tmp_path, "rename", compress=compress)
    append(path, "live")
    follower = follow(path, 5)
    assert follower.first == [b"none-2", b"gzip-0", b"gzip-1", b"gzip-2", b"live"]
    follower.close()


def test_since_a_time_the_archives_that_end_after_it_are_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    for stamp, line in (("20260101T000000.000000Z", "old"), ("20260103T000000.000000Z", "young")):
        append(tmp_path / f"a.log.{stamp}", line)
    append(path, "live")
    follower = Follower(str(path), since=1767312000.0)  # 2026-01-02
    assert follower.poll() == [b"young", b"live"] and not follower.behind
    follower.close()


def test_a_file_that_came_and_was_rotated_between_two_looks_is_shown(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    follower = follow(path)
    append(path, "first")
    rotate(tmp_path, "rename")
    append(path, "second")
    assert follower.poll() == [b"first", b"second"]
    follower.close()


def test_what_comes_after_a_rotation_is_shown_before_the_old_writers_have_left(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    append(path, "before")
    follower = follow(path)
    with open(path, "a", buffering=1) as late:
        rotate(tmp_path, "rename")
        append(path, "new")
        assert follower.poll() == [b"new"]
        late.write("late\n")
        append(path, "newer")
        assert follower.poll() == [b"late", b"newer"]
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


def test_a_file_that_cannot_be_read_stays_open_nowhere(tmp_path: Path) -> None:
    unreadable, directory = f"/proc/{os.getpid()}/mem", tmp_path / "logs"  # a regular file whose read fails
    with pytest.raises(OSError, match="Input/output error"):
        Follower(unreadable, lines=1)
    directory.mkdir()
    append(directory / "mem", "before")
    follower = follow(directory / "mem")
    directory.rename(tmp_path / "former")
    directory.symlink_to(f"/proc/{os.getpid()}")
    for _ in range(2):
        with pytest.raises(OSError, match="Input/output error"):
            follower.poll()
    directory.unlink()
    (tmp_path / "former").rename(directory)
    append(directory / "mem", "after")
    assert follower.poll() == [b"after"]
    follower.close()
    assert unreadable not in open_paths(os.getpid())


def test_lines_of_a_program_that_does_not_append_are_shown_at_every_copytruncate(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    follower, seen, wanted = follow(path), [], []
    with open(path, "wb") as program:  # it goes on at its own offset, and leaves a hole before it

        def write(*lines: str) -> None:
            wanted.extend(line.encode() for line in lines)
            program.write(b"".join(f"{line}\n".encode() for line in lines))
            program.flush()

        for turn in range(4):
            write(*(f"{turn}-{i:05d}" for i in range(3000)))
            seen += follower.poll()
            if turn == 2:
                late = follow(path, 1)
                seen_late = list(late.first)
            elif turn > 2:
                seen_late += late.poll()
            write(f"{turn}-unread", f"{turn}-unread too")
            rotate(tmp_path, "copytruncate")
            seen += follower.poll()
            if turn >= 2:
                seen_late += late.poll()
    assert seen == wanted and seen_late == wanted[3 * 3002 - 3 :]
    follower.close()
    late.close()


@pytest.mark.parametrize("writes", ["wb", "ab"], ids=["at its own place", "appending"])
@pytest.mark.parametrize("after", [0, 1, 100])
def test_lines_of_several_truncations_between_two_looks_are_all_shown(tmp_path: Path, writes: str, after: int) -> None:
    """Also when the file is as long again by the next look, so that its length tells nothing."""
    path = tmp_path / "a.log"
    wanted: list[bytes] = []
    follower = follow(path)
    with open(path, writes) as program:

        def write(*lines: str) -> None:
            wanted.extend(line.encode() for line in lines)
            program.write(b"".join(f"{line}\n".encode() for line in lines))
            program.flush()

        write(*(f"read-{i}" for i in range(10)))
        seen = follower.poll()
        for number in (1, 2, 3):
            write(f"unread-{number}", f"unread-{number} too")
            cut(tmp_path, f"a.log.2026010{number}T000000.000000Z")
        write(*(f"after-{i}" for i in range(after)))
        while (lines := follower.poll()) or follower.behind:
            seen += lines
    assert seen == wanted and not follower.remarks
    follower.close()


def test_nothing_is_read_while_a_copy_is_made_and_a_copy_that_never_ends_is_not_waited_for(tmp_path: Path) -> None:
    path, head = tmp_path / "a.log", tmp_path / "a.log.20260101T000000.000000Z.head"
    append(path, "read")
    follower = follow(path, 1)
    append(path, "copied")
    head.write_bytes(path.read_bytes())
    os.truncate(path, 0)
    append(path, "x" * 100)
    assert follower.poll() == []
    head.rename(head.with_suffix(""))
    assert follower.poll() == [b"copied", b"x" * 100]
    (tmp_path / "a.log.20260102T000000.000000Z.head").touch()
    append(path, "later")
    eventually(lambda: follower.poll() == [b"later"])
    follower.close()


def cut(directory: Path, archive: str) -> None:
    dir_fd = os.open(directory, os.O_RDONLY)
    truncate_after_copy(dir_fd, "a.log", archive, FileSystemPort(), threading.Event())
    os.close(dir_fd)


def test_a_file_that_its_server_lost_stays_open_nowhere(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.touch()

    def lost(fd: int) -> os.stat_result:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    with pytest.raises(OSError, match="Stale"):
        opened(str(path), fstat=lost)
    assert str(path) not in open_paths(os.getpid())
