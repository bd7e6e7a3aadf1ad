"""The link: read in every condition, moved in one step or not at all."""

from __future__ import annotations

import errno
import os
import subprocess
import threading
from pathlib import Path

import pytest
from tests.roots import project

from modelward.daemon.errors import Refused
from modelward.daemon.models import link
from modelward.daemon.models.snapshot import (
    Dangling,
    Missing,
    Names,
    NotALink,
    Outside,
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    models = tmp_path / "models"
    for name in ("v1.0", "v1.1"):
        (models / name).mkdir(parents=True)
        (models / name / "model.onnx").write_text(name)
    return models


def point(root: Path, target: str | Path) -> None:
    (root / "current").symlink_to(target)


@pytest.mark.parametrize("target", ["v1.0", "v1.0/", "./v1.0", "v1.1/../v1.0", "../models/v1.0", "{root}/v1.0"])
def test_follows_relative_absolute_and_roundabout_links(root: Path, target: str) -> None:
    point(root, target.format(root=root))
    assert link.read(root, "current") == Names("v1.0")


def test_follows_a_chain_of_links(root: Path) -> None:
    (root / "stable").symlink_to("v1.0")
    point(root, "stable")
    assert link.read(root, "current") == Names("v1.0")


def test_follows_a_link_through_another_path_to_the_same_root(root: Path, tmp_path: Path) -> None:
    (tmp_path / "alias").symlink_to(root)
    point(root, tmp_path / "alias" / "v1.0")
    assert link.read(root, "current") == Names("v1.0")
    assert link.read(tmp_path / "alias", "current") == Names("v1.0")


def test_tells_that_there_is_none(root: Path) -> None:
    assert link.read(root, "current") == Missing()


@pytest.mark.parametrize("target", ["v9", "v1.0/none", "v1.0/model.onnx/x", "/nowhere/at/all", "x" * 300])
def test_tells_a_link_to_nothing(root: Path, target: str) -> None:
    point(root, target)
    assert link.read(root, "current") == Dangling(target)


def test_tells_a_link_to_itself(root: Path) -> None:
    point(root, "current")
    assert link.read(root, "current") == Dangling("current", "it is a loop")


@pytest.mark.parametrize(
    "target", ["/etc", "../../etc", ".", "..", "v1.0/sub", "v1.0/model.onnx", "notes", "v2.part", "."]
)
def test_refuses_what_is_no_version_of_this_root(root: Path, target: str) -> None:
    (root / "v1.0" / "sub").mkdir()
    (root / "notes").write_text("x")
    (root / "v2.part").mkdir()
    (root.parent.parent / "etc").mkdir(exist_ok=True)
    point(root, target)
    state = link.read(root, "current")
    assert isinstance(state, Outside)
    assert repr(target) in str(state)


@pytest.mark.parametrize(("make", "kind"), [(os.mkdir, "a directory"), (os.mkfifo, "a FIFO"), (os.mknod, "a file")])
def test_tells_what_else_has_the_links_name(root: Path, make, kind: str) -> None:  # type: ignore[no-untyped-def]
    make(root / "current")
    assert link.read(root, "current") == NotALink(kind)


# switching


def test_makes_and_moves_a_relative_link(root: Path) -> None:
    link.switch(root, "current", "v1.0")
    assert os.readlink(root / "current") == "v1.0"
    link.switch(root, "current", "v1.1")
    assert link.read(root, "current") == Names("v1.1")
    assert sorted(os.listdir(root)) == ["current", "v1.0", "v1.1"]


@pytest.mark.parametrize("target", ["v9", "../v1.0", "/etc", ".", "current", "notes", "stable"])
def test_never_links_to_what_is_no_version(root: Path, target: str) -> None:
    link.switch(root, "current", "v1.0")
    (root / "notes").write_text("x")
    (root / "stable").symlink_to("v1.0")
    with pytest.raises(Refused, match=f"cannot make current name {target}: .*it is as it was"):
        link.switch(root, "current", target)
    assert link.read(root, "current") == Names("v1.0")


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo, os.mknod])
def test_never_touches_anything_that_is_no_link(root: Path, make) -> None:  # type: ignore[no-untyped-def]
    make(root / "current")
    before = os.lstat(root / "current")
    with pytest.raises(Refused, match="not a symbolic link; it was not touched"):
        link.switch(root, "current", "v1.0")
    assert os.lstat(root / "current") == before


def test_replaces_a_dangling_link(root: Path) -> None:
    point(root, "gone")
    link.switch(root, "current", "v1.0")
    assert link.read(root, "current") == Names("v1.0")


def test_removes_what_a_switch_that_was_cut_short_left(root: Path) -> None:
    (root / ".current.0123abcd").symlink_to("v1.0")
    (root / ".current.keepthis").symlink_to("v1.0")
    (root / ".current.01234567").write_text("a file of somebody's")
    link.switch(root, "current", "v1.1")
    assert sorted(os.listdir(root)) == [".current.01234567", ".current.keepthis", "current", "v1.0", "v1.1"]


class FaultyFiles(link.SystemFiles):
    """The system's calls, of which the n-th fails."""

    def __init__(self, fail_on: int, number: int) -> None:
        self.fail_on, self.number, self.calls = fail_on, number, 0

    def _count(self) -> None:
        self.calls += 1
        if self.calls == self.fail_on:
            raise OSError(self.number, os.strerror(self.number))

    def symlink(self, target: str, path: Path) -> None:
        self._count()
        super().symlink(target, path)

    def rename(self, source: Path, target: Path) -> None:
        self._count()
        super().rename(source, target)

    def unlink(self, path: Path) -> None:
        self._count()
        super().unlink(path)

    def sync_directory(self, path: Path) -> None:
        self._count()
        super().sync_directory(path)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("before", ["", "v1.0"])
def test_after_any_failure_the_link_is_as_it_was(root: Path, before: str, number: int) -> None:
    if before:
        point(root, before)
    was = link.read(root, "current")
    (root / ".current.0123abcd").symlink_to("v1.0")
    for n in range(1, 20):
        files = FaultyFiles(n, number)
        try:
            link.switch(root, "current", "v1.1", files=files)
        except Refused as e:
            assert "it is as it was" in str(e)
            assert link.read(root, "current") == was
        else:
            assert link.read(root, "current") == Names("v1.1")
            if files.calls < n:
                break
            (root / "current").unlink()
            if before:
                point(root, before)
    assert n > 3
    assert sorted(os.listdir(root)) == ["current", "v1.0", "v1.1"]


def test_a_reader_sees_a_version_at_every_moment_of_a_hundred_switches(root: Path) -> None:
    link.switch(root, "current", "v1.0")
    done = threading.Event()

    def move() -> None:
        for n in range(100):
            link.switch(root, "current", f"v1.{n % 2}")
        done.set()

    mover = threading.Thread(target=move)
    mover.start()
    states = set()
    while not done.is_set():
        states.add(link.read(root, "current"))
    mover.join()
    assert states <= {Names("v1.0"), Names("v1.1")}
    assert link.read(root, "current") == Names("v1.1")


@pytest.mark.parametrize(
    "way", ["ln -sfn v1.1 current", "ln -s v1.1 .t && mv -T .t current", "rm current; ln -s v1.1 current"]
)
def test_reads_every_way_an_operator_moves_it(root: Path, way: str) -> None:
    point(root, "v1.0")
    subprocess.run(["sh", "-c", way], cwd=root, check=True)
    assert link.read(root, "current") == Names("v1.1")


def test_a_link_outside_the_root_names_a_version_by_its_path(root: Path, tmp_path: Path) -> None:
    aside = tmp_path / "state" / "current"
    aside.parent.mkdir()
    assert link.read(root, str(aside)) == Missing()
    (aside.parent / ".current.0123abcd").symlink_to("cut short")
    for name in ("v1.0", "v1.1"):
        link.switch(root, str(aside), name)
        assert (os.readlink(aside), link.read(root, str(aside))) == (f"{root}/{name}", Names(name))
    assert os.listdir(aside.parent) == ["current"] and sorted(os.listdir(root)) == ["v1.0", "v1.1"]
    with pytest.raises(Refused, match="name v9: No such file or directory; it is as it was"):
        link.switch(root, str(aside), "v9")


def test_a_link_leads_to_a_version_that_kubernetes_projects(tmp_path: Path) -> None:
    project(tmp_path, {"v1/model.onnx": b"1"})
    link.switch(tmp_path, "current", "v1")
    project(tmp_path, {"v1/model.onnx": b"2"})
    assert (os.readlink(tmp_path / "current"), link.read(tmp_path, "current")) == ("v1", Names("v1"))
