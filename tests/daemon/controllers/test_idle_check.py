"""While nothing changed a look says so, and whatever did change it sees: each way, at the first look after it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.roots import IN_ROOT

from modelward.daemon.controllers.idle_check import Rest, unchanged
from modelward.daemon.models.scan import scan_root
from modelward.daemon.models.snapshot import Names, RootSeen


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A model root with two versions and a link, reached over links, and a copy of one version beside it."""
    real = tmp_path / "disk" / "models"
    for name in ("v1.0", "v1.1"):
        (real / name / "golden").mkdir(parents=True)
        (real / name / "model.onnx").write_text("weights")
        (real / name / "golden" / "a.txt").write_text("text")
    (real / "current").symlink_to("v1.0")
    (tmp_path / "by").symlink_to("disk")
    (tmp_path / "models").symlink_to("by/models")
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "model.bin").write_text("12345")
    (copy / "artifact.json").write_text('{"files": {"model.bin": {"bytes": 5}}}')
    return tmp_path / "models"


def rest_of(root: Path) -> Rest:
    sight = scan_root(root, IN_ROOT)
    assert isinstance(sight, RootSeen)
    return Rest(root, IN_ROOT, sight, frozenset({"v1.0", "v1.1"}), frozenset({str(root.parent / "copy")}))


def swap(path: Path, target: str) -> None:
    (path.parent / "aside").symlink_to(target)
    os.replace(path.parent / "aside", path)


def second_disk(root: Path) -> None:
    shutil.copytree(root.parent / "disk", root.parent / "disk2", symlinks=True)
    swap(root.parent / "by", "disk2")


CHANGES: dict[str, Callable[[Path], object]] = {
    "the link is moved": lambda root: swap(root / "current", "v1.1"),
    "the link is gone": lambda root: (root / "current").unlink(),
    "a version is dropped in": lambda root: (root / "v1.2").mkdir(),
    "a version is gone": lambda root: shutil.rmtree(root / "v1.1"),
    "a file is written": lambda root: (root / "v1.0" / "model.onnx").write_text("heavier"),
    "a file deep inside is added": lambda root: (root / "v1.1" / "golden" / "b.txt").touch(),
    "a file is given another time": lambda root: os.utime(root / "v1.1" / "model.onnx", (1, 1)),
    "the copy is damaged": lambda root: (root.parent / "copy" / "model.bin").write_text("1"),
    "the copy is gone": lambda root: shutil.rmtree(root.parent / "copy"),
    "the root is another directory": second_disk,
    "the root is gone": lambda root: root.unlink(),
}


@pytest.mark.parametrize("looks", [0, 1, 3])
@pytest.mark.parametrize("change", CHANGES)
def test_sees_every_change_at_the_first_look_after_it(root: Path, change: str, looks: int) -> None:
    rest = rest_of(root)
    assert all(unchanged(rest) for _ in range(looks))
    CHANGES[change](root)
    assert not unchanged(rest)
    assert not unchanged(rest)


@pytest.mark.parametrize("looks", [0, 1, 3])
def test_sees_that_a_link_outside_over_which_the_link_leads_was_moved(root: Path, looks: int) -> None:
    live = root.parent / "live"
    live.symlink_to(root / "v1.0")
    swap(root / "current", str(live))
    rest = rest_of(root)
    assert rest.sight.link == Names("v1.0")
    assert all(unchanged(rest) for _ in range(looks))
    swap(live, str(root / "v1.1"))
    assert not unchanged(rest)


def test_reading_changes_nothing(root: Path) -> None:
    rest = rest_of(root)
    assert unchanged(rest)
    assert (root / "v1.0" / "model.onnx").read_text()
    os.listdir(root)
    assert unchanged(rest)
    assert rest.trace
