"""What a local path means: a version, a hub's download, a hub's cache."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from modelward.daemon.errors import Refused
from modelward.daemon.fetch.local_source import VersionSource, local_version

ONE, TWO = "1" * 40, "2" * 40
SEP_2024 = 1_727_395_200.0


def version(path: Path, *more: str) -> Path:
    path.mkdir(parents=True)
    for name in ("model.onnx", *more):
        (path / name).write_bytes(b"x")
        os.utime(path / name, (SEP_2024, SEP_2024))
    return path


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    repository = tmp_path / "hub/models--iic--SenseVoiceSmall-onnx"
    version(repository / "snapshots" / ONE)
    return repository


def test_a_directory_is_a_version_of_its_name(tmp_path: Path) -> None:
    path = version(tmp_path / "v1.0")
    assert local_version(path) == VersionSource(path, "v1.0", of_hub=False)
    (tmp_path / "latest-v2").symlink_to(path)
    assert local_version(tmp_path / "latest-v2") == VersionSource(path, "latest-v2", of_hub=False)


def test_a_download_of_modelscope_gets_the_date_of_its_files(tmp_path: Path) -> None:
    path = version(tmp_path / "iic/SenseVoiceSmall-onnx", ".msc", ".mv")
    assert local_version(path) == VersionSource(path, "SenseVoiceSmall-onnx-20240927", of_hub=True)


def test_a_cache_of_hugging_face_means_its_main_branch(cache: Path) -> None:
    found = VersionSource(cache / "snapshots" / ONE, "SenseVoiceSmall-onnx-20240927", of_hub=True)
    assert local_version(cache) == found == local_version(cache / "snapshots" / ONE)
    version(cache / "snapshots" / TWO)
    with pytest.raises(Refused, match="it has 2 snapshots; name one of them"):
        local_version(cache)
    (cache / "refs").mkdir()
    (cache / "refs/main").write_text(f"{TWO}\n")
    assert local_version(cache).directory == cache / "snapshots" / TWO
    for wrong in ("../../../etc", "\xff", ONE[:-1]):
        (cache / "refs/main").write_bytes(wrong.encode("latin-1"))
        with pytest.raises(Refused, match="2 snapshots"):
            local_version(cache)


def test_what_is_no_directory_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="there is no such directory"):
        local_version(tmp_path / "none")
