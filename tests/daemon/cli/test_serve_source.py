"""What was named comes into the model root once, under a name of its own, whole or not at all."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest

from modelward.daemon.cli.serve_source import BroughtIn, bring_in
from modelward.daemon.errors import Refused
from modelward.daemon.fetch.fetcher import FetchTarget
from modelward.daemon.models.layouts import ArchiveFound, VersionFound

FILES = {"model.onnx": b"graph", "model_quant.onnx": b"small", "tokens.json": b"[]", "golden/a.wav": b"RIFF"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "models").mkdir(mode=0o750)
    return tmp_path / "models"


def bring(found: VersionFound | ArchiveFound, root: Path) -> BroughtIn:
    return bring_in(found, FetchTarget(root), root.parent / "archives.json", lambda done, total: None)


def source(place: Path, **changed: bytes) -> VersionFound:
    for name, data in {**FILES, **{key.replace("_onnx", ".onnx"): value for key, value in changed.items()}}.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(data)
    return VersionFound(str(place), place.name)


def test_the_same_content_is_copied_once_and_other_content_gets_another_name(tmp_path: Path, root: Path) -> None:
    found = source(tmp_path / "v1")
    assert bring(found, root) == BroughtIn("v1", 11, copied=True)
    assert bring(found, root) == BroughtIn("v1", 0, copied=False)
    assert sorted(os.listdir(root / "v1")) == ["golden", "model_quant.onnx", "tokens.json"]
    source(tmp_path / "v1", model_quant_onnx=b"other")  # as long as before
    assert bring(found, root).version == "v1-2"
    source(tmp_path / "v1", model_quant_onnx=b"another one")
    assert bring(found, root).version == "v1-3"
    assert bring(VersionFound(str(root / "v1-2"), "v1-2"), root) == BroughtIn("v1-2", 0, copied=False)
    assert sorted(os.listdir(root)) == ["v1", "v1-2", "v1-3"]


def test_the_graph_that_was_named_is_the_one_that_is_copied(tmp_path: Path, root: Path) -> None:
    found = source(tmp_path / "v1")
    bring(VersionFound(found.directory, "v1", "model.onnx"), root)
    assert sorted(os.listdir(root / "v1")) == ["golden", "model.onnx", "tokens.json"]


def test_an_archive_is_unpacked_once_and_a_changed_one_gets_another_name(tmp_path: Path, root: Path) -> None:
    archive = ArchiveFound(str(tmp_path / "v1.zip"), "zip", "v1")
    for text in ("[]", '["a"]'):
        with zipfile.ZipFile(archive.path, "w") as packed:
            packed.writestr("model.onnx", "graph")
            packed.writestr("tokens.json", text)
        first = bring(archive, root)
        assert first.copied and bring(archive, root) == BroughtIn(first.version, 0, copied=False)
    assert sorted(os.listdir(root)) == ["v1", "v1-2"]


def test_of_what_cannot_be_unpacked_nothing_is_left(tmp_path: Path, root: Path) -> None:
    (tmp_path / "v1.zip").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(Refused, match="the archive is damaged"):
        bring(ArchiveFound(str(tmp_path / "v1.zip"), "zip", "v1"), root)
    assert os.listdir(root) == []
