"""A version's files are listed without leaving it, whatever lies in it."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.roots import project

from modelward.worker.validate import safe_walk
from modelward.worker.validate.safe_walk import (
    BadTree,
    files_of,
    open_file,
    open_version,
)


@pytest.fixture
def version(tmp_path: Path) -> Path:
    directory = tmp_path / "v1"
    (directory / "sub").mkdir(parents=True)
    (directory / "model.onnx").write_bytes(b"graph")
    (directory / "sub" / "data").write_bytes(b"weights")
    (tmp_path / "outside").write_bytes(b"secret")
    return directory


@pytest.fixture
def root(version: Path) -> Iterator[int]:
    descriptor = open_version(str(version))
    yield descriptor
    os.close(descriptor)


def test_lists_files_in_sub_directories_and_links_that_stay_inside(version: Path, root: int) -> None:
    (version / "link").symlink_to("sub/data")
    (version / "sub" / "up").symlink_to("../model.onnx")
    (version / "chain").symlink_to("sub/up")
    found = files_of(root)
    assert {name: seen.bytes for name, seen in found.items()} == {
        "chain": 5,
        "link": 7,
        "model.onnx": 5,
        "sub/data": 7,
        "sub/up": 5,
    }
    descriptor = open_file(root, "chain")
    assert os.read(descriptor, 100) == b"graph"
    os.close(descriptor)


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("../outside", "bad is a link that leads outside"),
        ("/etc/passwd", "bad is a link that leads outside"),
        ("sub/../../outside", "bad is a link that leads outside"),
        ("/proc/self/cwd", "bad is a link that leads outside"),
        ("nowhere", "bad is a link to nothing"),
        ("bad", "bad is a link that never ends"),
        ("sub", "bad is a link to something that is not a regular file"),
        (".", "bad is a link to something that is not a regular file"),
    ],
)
def test_names_a_link_that_is_not_allowed(target: str, words: str, version: Path, root: int) -> None:
    (version / "bad").symlink_to(target)
    with pytest.raises(BadTree, match=words):
        files_of(root)


def test_names_what_is_neither_file_nor_directory(version: Path, root: int) -> None:
    os.mkfifo(version / "sub" / "pipe")
    with pytest.raises(BadTree, match="sub/pipe is a FIFO"):
        files_of(root)
    (version / "sub" / "pipe").unlink()
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(f"/proc/self/fd/{root}/socket")
    with pytest.raises(BadTree, match="socket is a socket"):
        files_of(root)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make devices")
def test_names_a_device(version: Path, root: int) -> None:
    try:
        os.mknod(version / "null", 0o20666, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("devices can't be made here")
    with pytest.raises(BadTree, match="null is a device"):
        files_of(root)


@pytest.mark.parametrize("name", [b"new\nline", b"\xff\xfe", b"esc\x1b[2J", "right\u202eleft".encode()])
def test_refuses_names_that_are_no_printable_text(name: bytes, version: Path, root: int) -> None:
    with open(os.fsencode(version) + b"/" + name, "wb"):
        pass
    with pytest.raises(BadTree, match="not printable UTF-8") as caught:
        files_of(root)
    assert str(caught.value).isprintable()


def test_refuses_too_deep_a_tree(version: Path, root: int) -> None:
    deep = version.joinpath(*["d"] * safe_walk.MAX_DEPTH)
    deep.mkdir(parents=True)
    with pytest.raises(BadTree, match="deeper than 8 levels"):
        files_of(root)


def test_refuses_too_many_files(version: Path, root: int) -> None:
    for number in range(safe_walk.MAX_FILES):
        os.link(version / "model.onnx", version / "sub" / str(number))
    with pytest.raises(BadTree, match="more than 10000"):
        files_of(root)


def test_refuses_a_version_that_is_itself_a_link_or_a_file(version: Path) -> None:
    version.with_name("link").symlink_to(version)
    for path in (version.with_name("link"), version / "model.onnx"):
        with pytest.raises(BadTree, match="is a link or no directory"):
            open_version(str(path))


def test_what_was_a_file_when_listed_is_not_followed_when_it_became_a_link(version: Path, root: int) -> None:
    files_of(root)
    (version / "model.onnx").unlink()
    (version / "model.onnx").symlink_to("../outside")
    with pytest.raises(BadTree, match="leads outside"):
        open_file(root, "model.onnx")
    (version / "sub" / "data").unlink()
    (version / "sub").rmdir()
    (version / "sub").symlink_to("..")
    with pytest.raises(BadTree, match="leads outside"):
        open_file(root, "sub/outside")


def test_a_projected_volume_is_read_through_its_links_and_what_projects_it_is_no_part(tmp_path: Path) -> None:
    project(tmp_path, {"model.onnx": b"old"})
    project(tmp_path, {"model.onnx": b"graph", "golden/a.wav": b"clip"})
    (tmp_path / "..data_tmp").symlink_to("..somewhere")
    root = open_version(str(tmp_path))
    try:
        assert {name: seen.bytes for name, seen in files_of(root).items()} == {"golden/a.wav": 4, "model.onnx": 5}
        descriptor = open_file(root, "golden/a.wav")
        assert os.read(descriptor, 100) == b"clip"
        os.close(descriptor)
        (tmp_path / "golden").unlink()
        (tmp_path / "golden").symlink_to("..data")
        with pytest.raises(BadTree, match="golden is a link to something that is not a regular file"):
            files_of(root)
        (tmp_path / "golden").unlink()
        (tmp_path / "out").symlink_to("/etc")
        with pytest.raises(BadTree, match="out is a link that leads outside"):
            files_of(root)
    finally:
        os.close(root)


def test_without_a_volume_a_link_to_a_directory_stays_refused(version: Path, root: int) -> None:
    (version / "..data").symlink_to("sub")
    with pytest.raises(BadTree, match=r"\.\.data is a link to something that is not a regular file"):
        files_of(root)


def test_what_nfs_keeps_of_a_deleted_file_is_no_part_of_a_version(version: Path, root: int) -> None:
    (version / "sub" / ".nfs000000000a1b2c3d00000001").touch()
    assert sorted(files_of(root)) == ["model.onnx", "sub/data"]
