"""A directory is listed as far as it must be to recognise a model: links followed to files, with limits."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from pathlib import Path

from modelward.daemon.models.layouts import VersionFound, recognise
from modelward.daemon.models.tree_listing import listed


def hub(root: Path) -> Path:
    """A repository in a cache of Hugging Face, as huggingface_hub makes it."""
    repository, revision = root / "models--org--sense-voice", "a" * 40
    snapshot = repository / "snapshots" / revision
    for directory in (snapshot, repository / "blobs", repository / "refs"):
        directory.mkdir(parents=True)
    (repository / "refs" / "main").write_text(revision)
    for name in ("model.int8.onnx", "tokens.txt"):
        (repository / "blobs" / f"blob-{name[0]}").write_bytes(b"x")
        (snapshot / name).symlink_to(f"../../blobs/blob-{name[0]}")
    return repository


def test_a_cache_of_hugging_face_is_listed_with_what_its_links_lead_to(tmp_path: Path) -> None:
    repository = hub(tmp_path)
    seen = listed(repository)
    snapshot = f"snapshots/{'a' * 40}"
    assert seen.files >= {f"{snapshot}/model.int8.onnx", f"{snapshot}/tokens.txt"}
    assert seen.main == {"": "a" * 40} and not seen.broken
    assert listed(tmp_path).main == {repository.name: "a" * 40}
    file = listed(repository / snapshot / "model.int8.onnx")
    assert recognise(file) == VersionFound(str(repository / snapshot), "sense-voice", "model.int8.onnx")
    (repository / "blobs" / "blob-m").unlink()
    assert listed(repository).broken == {f"{snapshot}/model.int8.onnx"}


def test_a_link_is_entered_only_where_it_was_named_and_that_of_a_root_is_read(tmp_path: Path) -> None:
    (tmp_path / "root" / "v1").mkdir(parents=True)
    (tmp_path / "root" / "v1" / "model.onnx").write_bytes(b"x")
    (tmp_path / "root" / "current").symlink_to("v1")
    (tmp_path / "named").symlink_to("root")
    seen = listed(tmp_path / "named")
    assert (seen.files, seen.link, seen.path) == ({"v1/model.onnx"}, "v1", str(tmp_path / "root"))


def test_archives_are_known_by_their_first_bytes(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a", "w") as packed:
        packed.writestr("model.onnx", "x")
    for name, mode in (("b", "w"), ("c", "w:gz"), ("d", "w:bz2")):
        with tarfile.open(tmp_path / name, mode) as tar:  # type: ignore[call-overload]
            tar.addfile(tarfile.TarInfo("model.onnx"), io.BytesIO())
    (tmp_path / "e").write_bytes(b"")
    assert [listed(tmp_path / name).archive for name in "abcde"] == ["zip", "tar", "tar", "tar", ""]


def test_what_is_no_file_ends_at_once_and_what_is_too_deep_is_left_out(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    deep = tmp_path / "1/2/3/4/5/6/7"
    deep.mkdir(parents=True)
    (deep / "model.onnx").write_bytes(b"x")
    assert listed(tmp_path / "pipe").kind == "other"
    assert listed(tmp_path / "none").kind == "missing"
    assert listed(tmp_path).files == frozenset()
