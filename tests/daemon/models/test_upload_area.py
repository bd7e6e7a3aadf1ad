"""Uploads on a real disk: hidden until they are whole, bounded, resumed, never over anything."""

from __future__ import annotations

import io
import os
import resource
import tarfile
from pathlib import Path

import pytest
from tests.roots import IN_ROOT

from modelward.daemon.answers.uploads import UploadFile
from modelward.daemon.errors import NotKnown, Refused
from modelward.daemon.models import scan, upload_area, upload_rules
from modelward.daemon.models.snapshot import RootSeen
from modelward.daemon.models.upload_area import UploadArea
from modelward.daemon.upkeep.syscalls import rename_noreplace

FILES = [UploadFile("v2/model.onnx", 6), UploadFile("v2/golden/a.txt", 2), UploadFile("v2/empty", 0)]


@pytest.fixture
def area(tmp_path: Path) -> UploadArea:
    return UploadArea(tmp_path, rename_noreplace, lambda total: 0)


def go_on() -> None:
    pass


def names(root: Path) -> set[str]:
    return {name for name in os.listdir(root) if not name.startswith(".")}


def test_a_version_is_there_only_when_it_is_whole(area: UploadArea, tmp_path: Path) -> None:
    upload = area.begin("v2", "directory", FILES, "current").id
    area.write(upload, 0, 0, b"abc")
    area.write(upload, 1, 0, b"hi")
    with pytest.raises(Refused, match="1 files are not complete"):
        area.finish(upload, go_on)
    assert names(tmp_path) == set()
    area.write(upload, 0, 3, b"def")
    assert area.finish(upload, go_on) == ("v2", 3, 8)
    assert os.listdir(tmp_path) == ["v2"]
    assert (tmp_path / "v2/model.onnx").read_bytes() == b"abcdef"
    assert (tmp_path / "v2/golden/a.txt").read_bytes() == b"hi" and (tmp_path / "v2/empty").read_bytes() == b""
    seen = scan.scan_root(tmp_path, IN_ROOT)
    assert isinstance(seen, RootSeen) and seen.versions[0].renamed_in  # judged at once


def test_an_upload_goes_on_where_it_ended_also_after_a_restart(area: UploadArea, tmp_path: Path) -> None:
    upload = area.begin("v2", "directory", FILES, "current").id
    area.write(upload, 0, 0, b"abc")
    again = UploadArea(tmp_path, rename_noreplace, lambda total: 0)
    assert [(u.id, u.received, u.plan.version) for u in again.seen()] == [(upload, (3, 0, 0), "v2")]
    for offset in (0, 2, 4):
        with pytest.raises(Refused, match="has 3 bytes; go on from there"):
            again.write(upload, 0, offset, b"x")
    assert again.write(upload, 0, 3, b"def") == 6


def test_more_than_was_announced_is_refused(area: UploadArea) -> None:
    upload = area.begin("v2", "directory", FILES, "current").id
    with pytest.raises(Refused, match="announced with 6"):
        area.write(upload, 0, 0, b"abcdefg")
    with pytest.raises(NotKnown):
        area.write(upload, 3, 0, b"")


@pytest.mark.parametrize("upload", ["", "..", "../../etc", "0" * 15, "0" * 17, "g" * 16, "0" * 16])
def test_an_upload_that_nobody_began_is_unknown(area: UploadArea, upload: str) -> None:
    for ask in (lambda: area.write(upload, 0, 0, b""), lambda: area.finish(upload, go_on), lambda: area.drop(upload)):
        with pytest.raises(NotKnown):
            ask()


def test_a_directory_that_somebody_else_put_there_is_no_upload(area: UploadArea, tmp_path: Path) -> None:
    outside = tmp_path.parent / "outside"
    outside.mkdir()
    (tmp_path / f"{upload_area.PREFIX}{'a' * 16}").symlink_to(outside)
    open_to_all = tmp_path / f"{upload_area.PREFIX}{'b' * 16}"
    open_to_all.mkdir(0o777)
    open_to_all.chmod(0o777)
    for upload in ("a" * 16, "b" * 16):
        with pytest.raises(NotKnown):
            area.write(upload, 0, 0, b"x")
    assert area.seen() == [] and area.abandoned(1e12) == [] and os.listdir(outside) == []


def test_no_more_uploads_at_a_time_than_are_allowed_and_no_name_twice(area: UploadArea) -> None:
    for n in range(upload_rules.MAX_UPLOADS):
        area.begin(f"v{n}", "directory", FILES, "current")
    with pytest.raises(Refused, match="not finished"):
        area.begin("v9", "directory", FILES, "current")
    with pytest.raises(Refused, match="of that name"):
        area.begin("v0", "directory", FILES, "current")


def test_room_is_asked_for_first_and_while_it_comes(tmp_path: Path) -> None:
    full = UploadArea(tmp_path, rename_noreplace, lambda total: total)
    with pytest.raises(Refused, match="room"):
        full.begin("v2", "directory", FILES, "current")
    upload = UploadArea(tmp_path, rename_noreplace, lambda total: 0).begin("v2", "directory", FILES, "current").id
    with pytest.raises(Refused, match="must stay free"):
        full.write(upload, 0, 0, b"abc")


def test_a_version_that_came_meanwhile_stays_as_it_is(area: UploadArea, tmp_path: Path) -> None:
    upload = area.begin("v2", "directory", [UploadFile("a", 1)], "current").id
    area.write(upload, 0, 0, b"x")
    (tmp_path / "v2").mkdir()
    with pytest.raises(Refused, match="by now"):
        area.finish(upload, go_on)
    assert os.listdir(tmp_path / "v2") == []
    assert area.drop(upload) == "v2" and os.listdir(tmp_path) == ["v2"]


def test_an_upload_whose_plan_cannot_be_read_takes_a_place_until_it_is_dropped(
    area: UploadArea, tmp_path: Path
) -> None:
    uploads = [area.begin(f"v{n}", "directory", FILES, "current").id for n in range(upload_rules.MAX_UPLOADS)]
    plans = [tmp_path / f"{upload_area.PREFIX}{upload}" / "plan.json" for upload in uploads]
    plans[0].write_bytes(b"")
    plans[1].unlink()
    assert sorted(seen.plan.version for seen in area.seen()) == ["?", "?", "v2", "v3"]
    with pytest.raises(Refused, match="not finished"):
        area.begin("v9", "directory", FILES, "current")
    with pytest.raises(Refused, match="drop it"):
        area.finish(uploads[0], go_on)
    assert [area.drop(upload) for upload in uploads] == ["?", "?", "v2", "v3"] and os.listdir(tmp_path) == []


def test_an_upload_that_cannot_begin_leaves_nothing(area: UploadArea, tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
    try:
        with pytest.raises(OSError, match="too large"):
            area.begin("v2", "directory", FILES, "current")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert os.listdir(tmp_path) == []


def test_what_was_abandoned_is_removed(area: UploadArea, tmp_path: Path) -> None:
    upload = area.begin("v2", "directory", FILES, "current")
    assert area.abandoned(upload.touched + upload_rules.ABANDONED_SECONDS - 5) == []
    assert area.abandoned(upload.touched + upload_rules.ABANDONED_SECONDS + 5) == ["v2"]
    assert os.listdir(tmp_path) == []


def test_an_archive_is_unpacked_without_the_directory_that_all_is_in(area: UploadArea, tmp_path: Path) -> None:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        for name in ("sensevoice/model.onnx", "sensevoice/golden/a.txt"):
            info = tarfile.TarInfo(name)
            info.size = 4
            archive.addfile(info, io.BytesIO(b"data"))
    content = made.getvalue()
    upload = area.begin("v3", "tar", [UploadFile("whatever.tgz", len(content))], "current").id
    area.write(upload, 0, 0, content)
    assert area.finish(upload, go_on) == ("v3", 2, 8)
    assert (tmp_path / "v3/golden/a.txt").read_bytes() == b"data" and os.listdir(tmp_path) == ["v3"]


def test_an_archive_is_not_unpacked_again_when_the_daemon_ended_after_its_version_was_in_place(
    area: UploadArea, tmp_path: Path
) -> None:
    upload = area.begin("v3", "tar", [UploadFile("x.tar", 4)], "current").id
    area.write(upload, 0, 0, b"none")
    (tmp_path / "v3").mkdir()
    with pytest.raises(Refused, match="by now"):  # not: the archive is damaged
        area.finish(upload, go_on)


def test_an_archive_that_is_none_is_refused_and_can_be_dropped(area: UploadArea, tmp_path: Path) -> None:
    upload = area.begin("v3", "zip", [UploadFile("x.zip", 4)], "current").id
    area.write(upload, 0, 0, b"none")
    for _ in range(2):
        with pytest.raises(Refused, match="damaged"):
            area.finish(upload, go_on)
    area.drop(upload)
    assert os.listdir(tmp_path) == []
