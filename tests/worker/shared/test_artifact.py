"""An artifact is read only when it is whole and ours."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

import msgspec
import pytest

from modelward.worker.child_protocol import GateDone
from modelward.worker.shared.artifact import (
    DESCRIPTION,
    Artifact,
    ArtifactFile,
    BadArtifact,
    artifact_name,
    read_artifact,
    write_artifact,
)

CONTENTS = {"model.onnx": b"graph", "golden/one.txt": b"one"}


def described(**more: object) -> Artifact:
    files = {name: ArtifactFile(len(data), hashlib.sha256(data).hexdigest()) for name, data in CONTENTS.items()}
    fields: dict[str, object] = {
        "version": "v1",
        "digest": "ab" * 32,
        "kind": "sensevoice",
        "model": "model.onnx",
        "files": files,
        "onnxruntime": "1.32.0",
        "load_bytes": 12,
        "gates": (GateDone("layout", True, 0.1, "2 files"),),
    }
    return Artifact(**{**fields, **more})  # type: ignore[arg-type]


def written(directory: Path, artifact: Artifact | None = None) -> Path:
    for name, data in CONTENTS.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(data)
    write_artifact(directory, artifact or described())
    return directory


def test_reads_back_what_was_written(tmp_path: Path) -> None:
    assert read_artifact(written(tmp_path / "v1")) == described()


def test_is_read_only_but_can_be_removed_by_its_owner(tmp_path: Path) -> None:
    directory = written(tmp_path / "v1")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in [directory, *directory.rglob("*")]}
    assert modes == {"v1": 0o750, "golden": 0o750, "model.onnx": 0o440, "one.txt": 0o440, DESCRIPTION: 0o440}


def test_the_name_tells_version_and_digest_and_fits_any_file_system() -> None:
    assert artifact_name("v1", "0123456789abcdef" * 4) == "v1-0123456789abcdef"
    assert len(artifact_name("版" * 85, "ab" * 32).encode()) <= 255


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda d: os.truncate(d / "model.onnx", 2), "model.onnx has 2 bytes, 5 were written"),
        (lambda d: (d / "model.onnx").unlink(), "model.onnx"),
        (lambda d: (d / DESCRIPTION).unlink(), DESCRIPTION),
        (lambda d: os.truncate(d / DESCRIPTION, 40), DESCRIPTION),
        (lambda d: (d / "more").write_text("x"), "more is not listed"),
        (lambda d: (d / "golden" / "one.txt").chmod(0o666), "writable by others"),
        (lambda d: d.chmod(0o777), "writable by others"),
        (lambda d: ((d / "model.onnx").unlink(), (d / "model.onnx").symlink_to("/etc/hostname")), "not a regular file"),
        (lambda d: ((d / "golden" / "one.txt").unlink(), os.mkfifo(d / "golden" / "one.txt")), "not a regular file"),
    ],
)
def test_refuses_a_damaged_one_and_says_what(damage: object, words: str, tmp_path: Path) -> None:
    directory = written(tmp_path / "v1")
    damage(directory)  # type: ignore[operator]
    with pytest.raises(BadArtifact, match=f"cannot use artifact.*{words}"):
        read_artifact(directory)


def test_refuses_a_linked_directory_and_one_that_is_not_there(tmp_path: Path) -> None:
    written(tmp_path / "v1")
    (tmp_path / "link").symlink_to("v1")
    with pytest.raises(BadArtifact, match="not a directory"):
        read_artifact(tmp_path / "link")
    with pytest.raises(BadArtifact, match="No such file"):
        read_artifact(tmp_path / "v2")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_refuses_what_belongs_to_somebody_else(tmp_path: Path) -> None:
    directory = written(tmp_path / "v1")
    os.chown(directory / "model.onnx", 12345, -1)
    with pytest.raises(BadArtifact, match="belongs to uid 12345"):
        read_artifact(directory)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"format": 2}, "format 2"),
        ({"model": "other.onnx"}, "is not among its files"),
        ({"digest": "short"}, "a wrong digest"),
        ({"files": {"../model.onnx": ArtifactFile(1, "ab" * 32)}}, "not the name of a file inside"),
        ({"files": {"/model.onnx": ArtifactFile(1, "ab" * 32)}}, "not the name of a file inside"),
        ({"files": {DESCRIPTION: ArtifactFile(1, "ab" * 32)}}, "not the name of a file inside"),
    ],
)
def test_refuses_a_description_that_leads_elsewhere(more: dict[str, object], words: str, tmp_path: Path) -> None:
    directory = written(tmp_path / "v1", described(**more))
    with pytest.raises(BadArtifact, match=words):
        read_artifact(directory)


def test_passes_over_what_a_later_version_of_the_program_adds(tmp_path: Path) -> None:
    directory = written(tmp_path / "v1")
    content = msgspec.json.decode((directory / DESCRIPTION).read_bytes())
    (directory / DESCRIPTION).unlink()
    (directory / DESCRIPTION).write_bytes(msgspec.json.encode({**content, "later": 1}))
    (directory / DESCRIPTION).chmod(0o440)
    assert read_artifact(directory).version == "v1"
