"""What a volume puts beside files is told from the files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.roots import project

from modelward.worker.shared.volume_entries import content_of, is_deleted_on_nfs, leads_into_data


def content(directory: Path) -> str:
    fd = os.open(directory, os.O_RDONLY)
    try:
        return content_of(fd)
    finally:
        os.close(fd)


def test_a_projected_volume_is_known_and_its_content_is_the_newest(tmp_path: Path) -> None:
    first = project(tmp_path, {"a": b"1", "sub/b": b"2"})
    assert content(tmp_path) == first.name
    second = project(tmp_path, {"a": b"3"})
    assert content(tmp_path) == second.name != first.name and (tmp_path / "a").read_bytes() == b"3"
    fd = os.open(tmp_path, os.O_RDONLY)
    assert leads_into_data(fd, "a") and not leads_into_data(fd, "..data") and not leads_into_data(fd, "none")
    os.close(fd)


@pytest.mark.parametrize("target", ["/etc", "..", ".", "plain", "../x", "..gone", "..file"])
def test_a_link_of_that_name_to_anything_else_makes_no_projected_volume(tmp_path: Path, target: str) -> None:
    (tmp_path / "plain").mkdir()
    (tmp_path / "..file").touch()
    (tmp_path / "..data").symlink_to(target)
    assert content(tmp_path) == ""


@pytest.mark.parametrize(
    ("name", "deleted"),
    [(".nfs000000000a1b2c3d00000001", True), (".nfs", False), (".nfs000000000a1b2c3d0000000g", False), ("nfs", False)],
)
def test_knows_what_nfs_keeps_of_a_deleted_file(name: str, deleted: bool) -> None:
    assert is_deleted_on_nfs(name) is deleted
