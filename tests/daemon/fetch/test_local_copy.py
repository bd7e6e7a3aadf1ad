"""Versions from a local directory: copied whole, links followed within their cache, never twice."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from modelward.daemon.errors import Refused
from modelward.daemon.fetch.local_copy import boundary_of, copy_version, files_of, same_content

REVISION = "0123456789abcdef0123456789abcdef01234567"


def write(path: Path, content: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


@pytest.fixture
def version(tmp_path: Path) -> Path:
    write(tmp_path / "source/model.onnx", b"weights" * 1000)
    write(tmp_path / "source/golden/a.txt", b"hi")
    write(tmp_path / "source/.git/config")
    write(tmp_path / "source/model.onnx.part")
    return tmp_path / "source"


@pytest.fixture
def cached(tmp_path: Path) -> Path:
    """A snapshot in a cache of Hugging Face."""
    repository = tmp_path / "hub/models--iic--SenseVoiceSmall"
    for name, blob in (("model_quant.onnx", "aa"), ("tokens.json", "bb")):
        write(repository / "blobs" / blob, blob.encode())
        place = repository / "snapshots" / REVISION / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(f"../../blobs/{blob}")
    return repository / "snapshots" / REVISION


def there(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_a_version_is_copied_without_what_tools_left(root: Path, version: Path) -> None:
    shown: list[tuple[int, int]] = []
    copied = copy_version(version, root, "v1", progress=lambda done, total: shown.append((done, total)))
    assert copied.copied and copied.path == root / "v1" and (copied.files, copied.bytes) == (2, 7002)
    assert there(root) == {"v1/golden/a.txt": b"hi", "v1/model.onnx": b"weights" * 1000}
    assert shown[-1] == (7002, 7002) and os.listdir(root) == ["v1"]


def test_the_same_content_is_not_copied_twice_and_another_never_replaces_it(root: Path, version: Path) -> None:
    copy_version(version, root, "v1")
    before = (root / "v1").stat()
    assert not copy_version(version, root, "v1").copied
    assert (root / "v1").stat() == before and os.listdir(root) == ["v1"]
    write(version / "model.onnx", b"weightz" * 1000)
    with pytest.raises(Refused, match="has other content; --as NAME"):
        copy_version(version, root, "v1")
    write(version / "golden/b.txt")
    with pytest.raises(Refused, match="other content"):
        copy_version(version, root, "v1")
    assert there(root)["v1/model.onnx"] == b"weights" * 1000


def test_links_of_a_cache_become_files(root: Path, cached: Path, tmp_path: Path) -> None:
    named = tmp_path / "named"
    named.symlink_to(cached)
    copy_version(named, root, "v1")
    assert there(root) == {"v1/model_quant.onnx": b"aa", "v1/tokens.json": b"bb"}
    assert not any(path.is_symlink() for path in root.rglob("*"))


def test_only_what_is_chosen_is_copied(root: Path, cached: Path) -> None:
    copy_version(cached, root, "v1", take=lambda paths: [path for path in paths if path.endswith(".json")])
    assert there(root) == {"v1/tokens.json": b"bb"}


def test_links_lead_no_further_than_their_repository(root: Path, version: Path, cached: Path, tmp_path: Path) -> None:
    secret = write(tmp_path / "secret")
    for source in (version, cached):
        (source / "config.json").symlink_to(secret)
        with pytest.raises(Refused, match="config.json is a link that leads out of"):
            copy_version(source, root, "v1")
    assert os.listdir(root) == []


def test_a_file_that_was_exchanged_after_the_listing_is_not_copied(root: Path, version: Path, tmp_path: Path) -> None:
    """By a link to another directory, by another file, and by one of another user's links."""
    secrets = write(tmp_path / "secrets/a.txt", b"no").parent

    def by_a_link() -> None:
        (version / "golden").rename(tmp_path / "old")
        (version / "golden").symlink_to(secrets)

    def by_a_file() -> None:
        (version / "golden/a.txt").unlink()
        os.link(secrets / "a.txt", version / "golden/a.txt")

    def by_another_user() -> None:
        by_a_link()
        os.chown(version, 65534, 65534)
        os.chown(version / "golden", 65534, 65534, follow_symlinks=False)

    ways = [by_a_link, by_a_file] + ([by_another_user] if os.geteuid() == 0 else [])
    for exchange in ways:
        shutil.rmtree(version)
        write(version / "a.onnx"), write(version / "golden/a.txt", b"hi")
        shutil.rmtree(tmp_path / "old", ignore_errors=True)
        listed, once = files_of(version, ""), iter([exchange])
        with pytest.raises(Refused, match="it changed while it was copied|is a link that uid 65534 can change"):
            copy_version(version, root, "v1", progress=lambda done, total, once=once: next(once, str)())  # type: ignore[misc]
        assert next(once, None) is None and os.listdir(root) == []
        assert not same_content(listed, version)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can read what others link to")
def test_root_does_not_copy_a_hard_link_to_a_file_of_another_user(root: Path, version: Path, tmp_path: Path) -> None:
    secret = write(tmp_path / "secret")
    os.link(secret, version / "config.json")
    assert copy_version(version, root, "v1").files == 3, "only root can have put it there"
    for path in (version, *version.rglob("*")):
        os.chown(path, 65534, 65534)
    assert copy_version(version, root, "v2").files == 3, "their own file"
    os.chown(secret, 0, 0)
    with pytest.raises(Refused, match="config.json is a hard link to a file of another user"):
        copy_version(version, root, "v3")
    os.chown(version, 0, 0)
    version.chmod(0o1777)
    with pytest.raises(Refused, match="config.json is a hard link"):
        copy_version(version, root, "v3")


@pytest.mark.parametrize(
    ("make", "because"),
    [
        (lambda top: (top / "a").symlink_to("b"), "which is not there"),
        (lambda top: (top / "a").symlink_to(top), "neither a file, a link to a file, nor a directory"),
        (lambda top: os.mkfifo(top / "a"), "neither a file"),
        (lambda top: write(top / "a\nb"), "can't be printed"),
        (lambda top: write(top.joinpath(*"abcdefgh", "i")), "deeper than 7"),
    ],
)
def test_what_no_version_may_hold_is_refused(root: Path, version: Path, make, because: str) -> None:  # type: ignore[no-untyped-def]
    make(version)
    with pytest.raises(Refused, match=because):
        copy_version(version, root, "v1")
    assert os.listdir(root) == []


def test_room_is_checked_first(root: Path, version: Path) -> None:
    with pytest.raises(Refused, match="it needs 6.8KiB and there is room for 0B"):
        copy_version(version, root, "v1", reserve=lambda total: total)


def test_a_copy_that_is_ended_shows_nothing_and_the_next_one_is_whole(root: Path, version: Path) -> None:
    def end(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        copy_version(version, root, "v1", progress=end)
    assert [name for name in os.listdir(root) if not name.startswith(".")] == []
    assert copy_version(version, root, "v1").copied and os.listdir(root) == ["v1"]


@pytest.mark.parametrize(
    ("source", "boundary"),
    [
        ("a/v1", "a/v1"),
        (f"hub/models--iic--S/snapshots/{REVISION}", "hub/models--iic--S"),
        ("snapshots/v1", "snapshots/v1"),
        ("hub/models--iic--S/snapshots", "hub/models--iic--S/snapshots"),
    ],
)
def test_links_may_lead_within(tmp_path: Path, source: str, boundary: str) -> None:
    assert boundary_of(tmp_path / source) == tmp_path / boundary


def test_a_source_that_is_no_directory_of_files_is_a_sentence(root: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for source in (tmp_path / "none", tmp_path / "empty", write(tmp_path / "file")):
        with pytest.raises(Refused, match=f"cannot copy {source}: "):
            copy_version(source, root, "v1")
