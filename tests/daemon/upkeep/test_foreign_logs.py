"""Logs in directories of another user: no link of theirs leads elsewhere, and no file of theirs stops upkeep.

Real directories, as root: the other user is `nobody`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.daemon.upkeep.clocks import HandClock

from modelward.daemon.config.load import parse
from modelward.daemon.errors import NotKnown, Refused
from modelward.daemon.upkeep.fs_port import FileSystemPort
from modelward.daemon.upkeep.logs import collapse as collapsing
from modelward.daemon.upkeep.logs.follow import Follower
from modelward.daemon.upkeep.logs.rotation_outcome import LogSet, RotationOutcome
from modelward.daemon.upkeep.logs.rotation_policy import RotationPolicy
from modelward.daemon.upkeep.logs.rotator import Rotator
from modelward.daemon.upkeep.service import Upkeep

NOBODY = 65534
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory to somebody else")
OLD = "app.log.20200101T000000.000000Z"


def log_set(directory: Path, **policy: object) -> LogSet:
    given = {"method": "collapse", "max_size_bytes": 1000} | policy
    return LogSet(str(directory), ("*.log",), RotationPolicy(**given))  # type: ignore[arg-type]


def rotator() -> Rotator:
    return Rotator(FileSystemPort(), HandClock(), threading.Event())


def rotate(directory: Path, **policy: object) -> RotationOutcome:
    return rotator().rotate([log_set(directory, **policy)], force=True)


def compress(directory: Path, **policy: object) -> RotationOutcome:
    return rotator().compress([log_set(directory, **policy)], reopened=True)


def sparse(path: Path, size: int = 1 << 41) -> Path:
    path.touch()
    os.truncate(path, size)
    return path


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """`theirs/app/log/app.log` of nobody; `ours/log/audit.log` is root's, beside it."""
    for place, name in (("theirs/app/log", "app.log"), ("ours/log", "audit.log")):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / name).write_text("a line\n" * 20_000)
    for path in (tmp_path / "theirs", *(tmp_path / "theirs").rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    return tmp_path / "theirs"


@pytest.fixture
def exchanged(theirs: Path) -> Path:
    """The parent of the log directory is exchanged with a link of nobody's to root's own directory."""
    (theirs / "app").rename(theirs / "app.old")
    (theirs / "app").symlink_to(theirs.parent / "ours")
    os.chown(theirs / "app", NOBODY, NOBODY, follow_symlinks=False)
    return theirs / "app/log"


@pytest.fixture
def upkeep(tmp_path: Path) -> Iterator[Upkeep]:
    for name in ("models", "state", "cache", "logs", "run"):
        (tmp_path / name).mkdir(mode=0o750)
    text = f"""
models.root = "{tmp_path}/models"
logs.dir = "{tmp_path}/logs"
[control]
runtime_dir = "{tmp_path}/run"
state_dir = "{tmp_path}/state"
cache_dir = "{tmp_path}/cache"
[[logs.extra]]
path = "{tmp_path}/theirs/app/log/*.log"
"""
    found = Upkeep(lambda: parse(text, "test"), HandClock())
    yield found
    found.close()


@root_only
@pytest.mark.parametrize("method", ["collapse", "rename", "reopen"])
def test_no_log_is_rotated_dropped_or_compressed_through_a_parent_that_another_user_made_a_link(
    exchanged: Path, method: str
) -> None:
    ours = exchanged.parents[2] / "ours/log"
    (ours / "audit.log.20200101T000000.000000Z").write_text("an old line\n")
    for outcome in (rotate(exchanged, method=method, keep=1), compress(exchanged, method=method)):
        [trouble] = outcome.trouble
        assert f"{exchanged.parent} is a link that uid {NOBODY} can change; nothing was touched" in trouble
    assert sorted(os.listdir(ours)) == ["audit.log", "audit.log.20200101T000000.000000Z"]
    assert (ours / "audit.log").read_text() == "a line\n" * 20_000


@root_only
def test_no_line_is_shown_through_such_a_link(exchanged: Path, upkeep: Upkeep) -> None:
    assert upkeep.logs().logs == []
    for name in ("audit", "audit.log", f"{exchanged}/audit.log"):
        with pytest.raises(NotKnown):
            upkeep.tail(name, 2)
    with pytest.raises(OSError, match="is a link that uid"):
        Follower(str(exchanged / "audit.log"), lines=2)


@root_only
def test_one_that_follows_a_log_does_not_go_along_when_a_parent_becomes_a_link(theirs: Path) -> None:
    follower = Follower(str(theirs / "app/log/app.log"), lines=1)
    (theirs / "app").rename(theirs / "app.old")
    (theirs / "app").symlink_to(theirs.parent / "ours")
    os.chown(theirs / "app", NOBODY, NOBODY, follow_symlinks=False)
    (theirs.parent / "ours/log/audit.log").rename(theirs.parent / "ours/log/app.log")
    assert [line for _ in range(50) for line in follower.poll()] == []
    follower.close()


@root_only
def test_a_hard_link_to_a_file_of_somebody_elses_is_not_shown(theirs: Path, upkeep: Upkeep) -> None:
    os.link(theirs.parent / "ours/log/audit.log", theirs / "app/log/stolen.log")
    with pytest.raises(Refused, match="not a regular file with one name"):
        upkeep.tail("stolen", 2)


@root_only
def test_a_link_of_roots_on_the_way_is_followed(theirs: Path, upkeep: Upkeep) -> None:
    os.chown(theirs, 0, 0)
    (theirs / "app").rename(theirs / "elsewhere")
    (theirs / "app").symlink_to("elsewhere")
    assert upkeep.tail("app", 1).lines == ["a line"]
    outcome = rotate(theirs / "app/log", method="rename")
    assert [step.action for step in outcome.steps] == ["rotated"] and not outcome.trouble


@pytest.mark.parametrize("method", ["collapse", "rename"])
def test_an_archive_that_is_all_holes_is_left_and_reported_and_the_others_are_compressed(
    tmp_path: Path, method: str
) -> None:
    tmp_path.chmod(0o750)
    sparse(tmp_path / OLD)
    (tmp_path / "app.log.20210101T000000.000000Z").write_text("a line\n" * 100)
    outcome = compress(tmp_path, method=method)
    [trouble] = outcome.trouble
    assert trouble == f"cannot compress {tmp_path}/{OLD}: it has holes: of 2TiB it holds 0B; it stays as it is"
    assert sorted(os.listdir(tmp_path)) == [OLD, "app.log.20210101T000000.000000Z.gz"]


def test_a_pair_of_archives_one_of_which_is_all_holes_is_left(tmp_path: Path) -> None:
    tmp_path.chmod(0o750)
    sparse(tmp_path / OLD)
    (tmp_path / f"{OLD}.gz").write_bytes(b"\x1f\x8b")
    for outcome in (compress(tmp_path), rotator().tidy([log_set(tmp_path)])):
        [step] = outcome.steps
        assert (step.action, "it has holes" in step.because) == ("spared", True)
    assert sorted(os.listdir(tmp_path)) == [OLD, f"{OLD}.gz"]


@pytest.mark.parametrize("copytruncate", [False, True])
def test_a_live_log_with_holes_is_neither_copied_nor_cut_and_that_is_reported(
    tmp_path: Path, copytruncate: bool
) -> None:
    tmp_path.chmod(0o750)
    sparse(tmp_path / "app.log")
    outcome = rotate(tmp_path, truncate_if_unsupported=copytruncate)
    [trouble] = outcome.trouble
    assert "it has holes" in trouble and "it keeps growing" in trouble
    assert os.listdir(tmp_path) == ["app.log"]


def test_what_a_crash_seems_to_have_left_is_not_compared_over_terabytes(tmp_path: Path) -> None:
    tmp_path.chmod(0o750)
    sparse(tmp_path / "app.log")
    sparse(tmp_path / f"{OLD}.head")
    [step] = rotator().tidy([log_set(tmp_path)]).steps
    assert "kept as an archive" in step.because


def test_a_log_without_an_end_of_a_line_is_not_searched_to_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    path.write_bytes(b"line\n" + b"x" * 1000)
    reads: list[int] = []

    def counted(fd: int, length: int, offset: int) -> bytes:
        reads.append(offset)
        return b"x" * length

    fd = os.open(path, os.O_RDONLY)
    assert collapsing._end_of_lines(fd, 1 << 40, FileSystemPort(pread=counted)) == 0
    os.close(fd)
    assert len(reads) == collapsing.MAX_LINE_BYTES // collapsing.CHUNK_BYTES
