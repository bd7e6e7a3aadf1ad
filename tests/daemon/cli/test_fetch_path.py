"""What a path means to `fetch`: what it means to `serve`, and of a model root the version that is live."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from modelward.daemon.cli.fetch_path import found_here
from modelward.daemon.errors import Refused
from modelward.daemon.fetch.local_source import VersionSource
from modelward.daemon.models.layouts import ArchiveFound

SEP_2024 = 1_727_395_200.0


def version(path: Path) -> Path:
    path.mkdir(parents=True)
    for name in ("model.onnx", "tokens.json"):
        (path / name).write_bytes(b"x")
        os.utime(path / name, (SEP_2024, SEP_2024))
    return path


def test_a_directory_a_graph_a_cache_and_a_model_root_mean_a_version(tmp_path: Path) -> None:
    one = version(tmp_path / "root" / "v1.0")
    version(tmp_path / "root" / "v1.1")
    snapshot = version(tmp_path / "cache" / "hub" / "models--org--S" / "snapshots" / ("a" * 40))
    (tmp_path / "latest-v2").symlink_to(one)
    (tmp_path / "root" / "current").symlink_to("v1.0")
    assert found_here(one, as_it_is=False) == VersionSource(one, "v1.0", of_hub=False)
    assert found_here(tmp_path / "latest-v2", as_it_is=False).name == "latest-v2"  # type: ignore[union-attr]
    assert found_here(one / "model.onnx", as_it_is=False) == VersionSource(one, "v1.0", False, "model.onnx")
    for path in (tmp_path / "root", tmp_path / "root" / "current"):
        assert found_here(path, as_it_is=False) == VersionSource(one, "v1.0", of_hub=False)
    for path in (tmp_path / "cache", tmp_path / "cache" / "hub", snapshot):
        assert found_here(path, as_it_is=False) == VersionSource(snapshot, "S-20240927", of_hub=True)


def test_an_archive_is_known_by_what_is_in_it(tmp_path: Path) -> None:
    (tmp_path / "v1").write_bytes(b"PK\x03\x04")
    assert found_here(tmp_path / "v1", as_it_is=False) == ArchiveFound(str(tmp_path / "v1"), "zip", "v1")


def test_what_means_no_version_is_a_sentence(tmp_path: Path) -> None:
    version(tmp_path / "root" / "v1.0")
    version(tmp_path / "root" / "v1.1")
    (tmp_path / "empty").mkdir()
    (tmp_path / "shut").mkdir(mode=0o000)
    (tmp_path / "loop").symlink_to("loop")
    for name, because in (
        ("root", "it is a model root and none of its versions is live; name a version"),
        ("empty", "there is no model in it"),
        ("loop", "Too many levels of symbolic links"),
        ("none", "there is no such file or directory"),
        *([("shut", "Permission denied")] if os.geteuid() else []),
    ):
        with pytest.raises(Refused, match=f"cannot copy {tmp_path}/{name}: {because}"):
            found_here(tmp_path / name, as_it_is=False)
    assert found_here(tmp_path / "empty", as_it_is=True).name == "empty"  # type: ignore[union-attr]
