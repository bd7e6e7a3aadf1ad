"""A copy is whole when every file of its description is there in full size; anything else is no copy."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from modelward.daemon.models.artifacts import is_whole


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    directory = tmp_path / "v1-0123"
    (directory / "golden").mkdir(parents=True)
    (directory / "model.onnx").write_bytes(b"x" * 100)
    (directory / "golden" / "a.wav").write_bytes(b"y" * 10)
    files = {"model.onnx": {"bytes": 100, "sha256": ""}, "golden/a.wav": {"bytes": 10, "sha256": ""}}
    (directory / "artifact.json").write_text(json.dumps({"format": 1, "files": files}))
    return directory


def test_a_copy_as_it_was_written_is_whole(copy: Path) -> None:
    assert is_whole(str(copy))


@pytest.mark.parametrize(
    "damage",
    [
        lambda copy: os.truncate(copy / "model.onnx", 50),
        lambda copy: (copy / "golden" / "a.wav").unlink(),
        lambda copy: (copy / "artifact.json").unlink(),
        lambda copy: (copy / "artifact.json").write_text('{"format": 1'),
        lambda copy: (copy / "artifact.json").write_text('{"files": {}}'),
        lambda copy: (copy / "artifact.json").write_text('{"files": ["model.onnx"]}'),
        lambda copy: (copy / "artifact.json").write_text("[]"),
        lambda copy: (copy / "artifact.json").write_bytes(b"\xff"),
        lambda copy: os.replace(copy / "model.onnx", copy / "other.onnx"),
        lambda copy: copy.rename(copy.parent / "elsewhere"),
    ],
)
def test_a_damaged_copy_is_none(copy: Path, damage: Callable[[Path], object]) -> None:
    damage(copy)
    assert not is_whole(str(copy))


def test_a_link_in_a_files_place_is_no_copy(copy: Path) -> None:
    (copy / "model.onnx").rename(copy.parent / "model.onnx")
    (copy / "model.onnx").symlink_to(copy.parent / "model.onnx")
    assert not is_whole(str(copy))
