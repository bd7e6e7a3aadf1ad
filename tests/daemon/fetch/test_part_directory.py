"""A version on its way into the root: hidden and locked, then there as a whole with the root's owner and rights."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import pytest
from tests.roots import IN_ROOT

from modelward.daemon.errors import Refused
from modelward.daemon.fetch.part_directory import PartDirectory, part_directory
from modelward.daemon.models import scan
from modelward.daemon.models.snapshot import RootSeen

CANNOT = "cannot fetch v1"
Open = Callable[..., AbstractContextManager[PartDirectory]]


@pytest.fixture
def opened(tmp_path: Path) -> Open:
    return partial(part_directory, tmp_path, "v1", "current", lambda total: 0, CANNOT)


def test_a_version_appears_as_a_whole_with_the_rights_of_the_root(tmp_path: Path, opened: Open) -> None:
    tmp_path.chmod(0o750)
    with opened() as part:
        part.begin(keep=True)
        (part.files / "golden").mkdir(mode=0o700)
        (part.files / "golden/a.txt").write_bytes(b"hi")
        (part.files / "model.onnx").write_bytes(b"abc")
        assert [name for name in os.listdir(tmp_path) if not name.startswith(".")] == []
        assert part.place() == (2, 5)
        part.remove()
    assert os.listdir(tmp_path) == ["v1"]
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")}
    assert modes == {"v1": 0o750, "golden": 0o750, "a.txt": 0o640, "model.onnx": 0o640}
    seen = scan.scan_root(tmp_path, IN_ROOT)
    assert isinstance(seen, RootSeen) and seen.versions[0].renamed_in  # judged at once


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_what_root_fetches_belongs_to_the_owner_of_the_root(tmp_path: Path, opened: Open) -> None:
    os.chown(tmp_path, 1234, 1235)
    with opened() as part:
        part.begin(keep=True)
        (part.files / "model.onnx").write_bytes(b"abc")
        part.place()
    for path in (tmp_path / "v1", tmp_path / "v1/model.onnx"):
        assert (path.stat().st_uid, path.stat().st_gid) == (1234, 1235)


def test_a_second_command_for_the_same_version_is_refused(opened: Open) -> None:
    with opened(), pytest.raises(Refused, match=f"{CANNOT}: another command is fetching it now"), opened():
        pass
    with opened():
        pass


def test_what_came_stays_for_the_next_try_unless_it_begins_anew(opened: Open) -> None:
    with opened() as part:
        part.begin(keep=True)
        (part.files / "model.onnx").write_bytes(b"abc")
    with opened() as part:
        part.begin(keep=True)
        assert (part.files / "model.onnx").read_bytes() == b"abc"
        part.begin(keep=False)
        assert os.listdir(part.files) == []


def test_a_version_that_came_meanwhile_stays_as_it_is(tmp_path: Path, opened: Open) -> None:
    with opened() as part:
        part.begin(keep=True)
        (tmp_path / "v1").mkdir()
        with pytest.raises(Refused, match="there is a version of that name by now"):
            part.place()
    assert os.listdir(tmp_path / "v1") == []


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "..", "current", "v1.tmp", "-v1", "lost+found", "a\nb"])
def test_a_name_that_no_version_may_have_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(Refused), part_directory(tmp_path, name, "current", lambda total: 0, CANNOT):
        pass
    assert os.listdir(tmp_path) == []


def test_room_is_checked_with_what_must_stay_free(tmp_path: Path) -> None:
    with part_directory(tmp_path, "v1", "current", lambda total: total, CANNOT) as part:
        part.require_room(0)
        with pytest.raises(Refused, match=r"it needs 1B and there is room for 0B \(.* must stay free"):
            part.require_room(1)


@pytest.mark.parametrize(
    ("number", "because"),
    [
        (errno.ENOSPC, "the disk of .* is full; what came is kept, and the same command continues"),
        (errno.EDQUOT, "is full"),
        (errno.EROFS, "cannot be written: its file system is read-only"),
        (errno.EACCES, "cannot be written: it belongs to .*; run the command as that user, or as root"),
        (errno.EIO, "Input/output error"),
    ],
)
def test_what_the_disk_answers_is_a_sentence_and_what_came_stays(
    tmp_path: Path, opened: Open, number: int, because: str
) -> None:
    with pytest.raises(Refused, match=f"{CANNOT}: .*{because}"), opened() as part:
        part.begin(keep=True)
        (part.files / "model.onnx").write_bytes(b"abc")
        raise OSError(number, os.strerror(number))
    with opened() as part:
        part.begin(keep=True)
        assert (part.files / "model.onnx").read_bytes() == b"abc"


def test_a_root_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    with (
        pytest.raises(Refused, match=f"{CANNOT}: .* is no directory; --to ROOT"),
        part_directory(tmp_path / "none", "v1", "current", lambda total: 0, CANNOT),
    ):
        pass


def test_a_source_that_cannot_be_read_is_not_reported_as_a_model_root_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    source = str(tmp_path / "elsewhere" / "model.onnx")
    with (
        pytest.raises(Refused, match=f"^cannot copy v1: {source}: Permission denied$"),
        part_directory(tmp_path / "root", "v1", "current", lambda total: 0, "cannot copy v1"),
    ):
        raise PermissionError(errno.EACCES, "Permission denied", source)
    assert list((tmp_path / "root").iterdir()) == []
