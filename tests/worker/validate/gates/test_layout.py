"""What the layout gate lets be copied, on real directories and a real small disk."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from modelward.worker.child_protocol import Candidate
from modelward.worker.validate.context import Context, Hindered
from modelward.worker.validate.gates import layout
from modelward.worker.validate.gates.layout import OUR_NAMES, room_missing

GB = 10**9


@pytest.fixture
def version(tmp_path: Path) -> Path:
    found = tmp_path / "v1"
    found.mkdir()
    (found / "model.onnx").write_bytes(b"weights" * 1000)
    return found


def context(version: Path, **more: Any) -> Context:
    directory = version.parent / "private"
    directory.mkdir(exist_ok=True)
    return Context(Candidate(path=str(version), version=version.name, kind="tensor", **more), directory)


@pytest.mark.parametrize("name", ["artifact.json", "compiled", "compiled/model.onnx", "compiled/deep/er"])
def test_a_file_with_a_name_of_ours_is_refused_with_that_name_and_nothing_is_copied(version: Path, name: str) -> None:
    (version / name).parent.mkdir(parents=True, exist_ok=True)
    (version / name).write_text("{}")
    judged = context(version)
    answer = layout.check(judged)
    assert not answer.passed and answer.because.startswith(f"{name}: the daemon keeps this name")
    assert not list(judged.directory.iterdir())


@pytest.mark.parametrize("name", ["sub/artifact.json", "artifact.json.bak", "compiled.txt", "Compiled/x"])
def test_names_that_only_resemble_ours_are_copied(version: Path, name: str) -> None:
    (version / name).parent.mkdir(exist_ok=True)
    (version / name).write_text("{}")
    assert layout.check(context(version)).passed


def test_every_file_that_an_artifact_has_besides_the_versions_own_is_among_our_names() -> None:
    assert OUR_NAMES == ("artifact.json", "compiled")


@pytest.mark.parametrize(
    ("needed", "free", "kept", "missing"),
    [
        (12 * GB, 100 * GB, 80 * GB, 0),
        (12 * GB, 83 * GB, 80 * GB, 9 * GB),
        (12 * GB, 5 * GB, 0, 7 * GB),
        (GB, 10 * GB, 80 * GB, 0),  # a tenth of what is free: served even where the disk is low already
        (GB + 1, 10 * GB, 80 * GB, 71 * GB + 1),
    ],
)
def test_a_copy_leaves_the_margin_free_or_takes_a_tenth_at_most(
    needed: int, free: int, kept: int, missing: int
) -> None:
    assert max(0, room_missing(needed, free, kept)) == missing


@pytest.mark.parametrize("margin", ["min_free_bytes", "min_free_fraction"])
def test_a_version_that_would_fill_the_disk_is_not_judged_yet_and_the_reason_names_what_is_missing(
    version: Path, margin: str
) -> None:
    disk = os.statvfs(version)
    free, total = disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize
    with open(version / "pad.bin", "wb") as pad:
        pad.truncate(min(free // 2, 60 << 30))
    kept = {"min_free_bytes": free, "min_free_fraction": free / total}[margin]
    judged = context(version, **{margin: kept})
    with pytest.raises(Hindered, match=r"it needs .*, .* are free above disk.min_free .*`modelward disk`"):
        layout.check(judged)
    assert not list(judged.directory.iterdir())


def test_a_sparse_file_takes_no_more_room_in_the_copy(version: Path) -> None:
    with open(version / "pad.bin", "wb") as pad:
        pad.truncate(64 << 20)
        pad.seek(32 << 20)
        pad.write(b"not a hole")
    judged = context(version)
    assert layout.check(judged).passed
    copy = judged.directory / "pad.bin"
    assert copy.read_bytes() == (version / "pad.bin").read_bytes()
    assert copy.stat().st_blocks * 512 <= 2 << 20


def test_what_may_still_come_is_told_from_what_is_wrong(version: Path) -> None:
    (version / "model.onnx").unlink()
    for prepare, incomplete, words in (
        (lambda: None, True, "it holds no files"),
        (lambda: (version / "config.json").touch(), True, "cannot find model.onnx"),
        (lambda: (version / "model.onnx").symlink_to("weights"), True, "model.onnx is a link to nothing"),
        (lambda: (version / "model.onnx").unlink(), True, "cannot find"),
        (lambda: (version / "blob").symlink_to("../../blobs/0a"), False, f"`cp -rL SOURCE {version}`"),
    ):
        prepare()
        judged = context(version)
        answer = layout.check(judged)
        assert not answer.passed and words in answer.because, answer.because
        assert judged.incomplete is incomplete


def test_a_model_one_level_too_deep_is_found_and_the_command_moves_it_up(version: Path) -> None:
    (version / "out er").mkdir()
    (version / "model.onnx").rename(version / "out er" / "model.onnx")
    answer = layout.check(context(version))
    assert not answer.passed and "it lies one level too deep, in out er" in answer.because
    command = answer.because.split("`")[1]
    subprocess.run(["sh", "-c", command], check=True)
    assert layout.check(context(version)).passed


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0a\nsize 240000000\n"
PAGES = [b"<!DOCTYPE html>\n<html>", b"\xef\xbb\xbf\n<html lang=en>", b"<?xml version='1.0'?><Error><Code>AccessDenied"]


@pytest.mark.parametrize("name", ["model.onnx", "model.onnx_data", "tokens.json", "tokens.txt", "am.mvn", "SHA256SUMS"])
def test_a_git_lfs_pointer_is_named_with_the_command_that_fetches_the_file(version: Path, name: str) -> None:
    (version / name).write_bytes(POINTER)
    judged = context(version)
    answer = layout.check(judged)
    assert not answer.passed and judged.incomplete
    assert (
        answer.because.startswith(f"{name} is a Git LFS pointer")
        and "`git lfs pull` fetches it into the clone" in answer.because
    )
    (version / ".git").mkdir()
    (version / ".git" / "HEAD").touch()
    assert f"`git -C {version} lfs pull` fetches it" in layout.check(context(version)).because


@pytest.mark.parametrize("page", PAGES)
def test_a_page_in_place_of_a_file_is_named(version: Path, page: bytes) -> None:
    (version / "model.onnx").write_bytes(page)
    judged = context(version)
    assert layout.check(judged).because.startswith("model.onnx is a web page and not the file itself")
    assert not judged.incomplete


def test_pages_and_pointers_that_are_no_part_of_the_model_are_let_be(version: Path) -> None:
    for name in ("README.html", "notes.txt", "assets/logo.json"):
        (version / name).parent.mkdir(exist_ok=True)
        (version / name).write_bytes(PAGES[0])
    assert layout.check(context(version)).passed
