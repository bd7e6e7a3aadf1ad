"""What was hashed is what lies in the copy."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.worker.shared.artifact import ArtifactFile, digest_of
from modelward.worker.validate.copy import BLOCK_BYTES, Changed, copy_files
from modelward.worker.validate.safe_walk import files_of, open_version


@pytest.fixture
def version(tmp_path: Path) -> Path:
    directory = tmp_path / "v1"
    (directory / "sub").mkdir(parents=True)
    (directory / "model.onnx").write_bytes(os.urandom(2 * BLOCK_BYTES + 17))
    (directory / "sub" / "empty").write_bytes(b"")
    (directory / "link").symlink_to("model.onnx")
    return directory


@pytest.fixture
def root(version: Path) -> Iterator[int]:
    descriptor = open_version(str(version))
    yield descriptor
    os.close(descriptor)


def test_copies_every_file_and_makes_links_into_files(version: Path, root: int, tmp_path: Path) -> None:
    into = tmp_path / "copy"
    into.mkdir()
    copied = copy_files(root, files_of(root), into)
    assert sorted(copied) == ["link", "model.onnx", "sub/empty"]
    for name, entry in copied.items():
        data = (into / name).read_bytes()
        assert data == (version / name).read_bytes()
        assert entry == ArtifactFile(len(data), hashlib.sha256(data).hexdigest())
    assert not (into / "link").is_symlink()


@pytest.mark.parametrize(
    "meddle",
    [
        lambda v: (v / "model.onnx").write_bytes(b"other"),
        lambda v: os.truncate(v / "model.onnx", 1),
        lambda v: (v / "model.onnx").touch(),
        lambda v: ((v / "new").write_bytes((v / "model.onnx").read_bytes()), (v / "new").rename(v / "model.onnx")),
        lambda v: (v / "model.onnx").unlink(),
    ],
)
def test_notices_a_file_that_changed_since_it_was_listed(
    meddle: object, version: Path, root: int, tmp_path: Path
) -> None:
    seen = files_of(root)
    (version / "link").unlink()
    seen.pop("link")
    meddle(version)  # type: ignore[operator]
    (tmp_path / "copy").mkdir()
    with pytest.raises(Changed, match="model.onnx was"):
        copy_files(root, seen, tmp_path / "copy")


def test_says_which_file_could_not_be_written(root: int, tmp_path: Path) -> None:
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "model.onnx").mkdir()
    with pytest.raises(OSError, match="File exists: 'model.onnx'"):
        copy_files(root, files_of(root), tmp_path / "copy")


names = st.dictionaries(st.text("ab/. ", min_size=1, max_size=5), st.text("0123456789abcdef", min_size=64, max_size=64))


def test_the_digest_is_what_sha256sum_and_sort_would_give() -> None:
    files = {"b": ArtifactFile(1, "cd" * 32), "a/c": ArtifactFile(2, "ab" * 32)}
    assert digest_of(files) == hashlib.sha256(f"{'ab' * 32}  a/c\n{'cd' * 32}  b\n".encode()).hexdigest()


@given(names, names)
def test_digests_are_equal_only_for_equal_contents_in_any_order(one: dict[str, str], other: dict[str, str]) -> None:
    first = {name: ArtifactFile(1, sha256) for name, sha256 in one.items()}
    second = {name: ArtifactFile(1, sha256) for name, sha256 in other.items()}
    assert digest_of(first) == digest_of(dict(reversed(first.items())))
    assert (digest_of(first) == digest_of(second)) == (one == other)
