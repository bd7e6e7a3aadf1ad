"""What a look sees: on real directories, with real copiers."""

from __future__ import annotations

import hashlib
import mmap
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.roots import IN_ROOT, project
from tests.support import PATIENCE_SECONDS, eventually

from modelward.daemon.models.no_version import why_no_version
from modelward.daemon.models.scan import MAX_DEPTH, MAX_ENTRIES, scan_root
from modelward.daemon.models.snapshot import (
    Missing,
    Names,
    RootAbsent,
    RootSeen,
    VersionSeen,
)
from modelward.worker.shared.checksums import MAX_SUMS_BYTES

NOBODY = 65534


@pytest.fixture
def common() -> Iterator[Path]:
    """A directory that any user can reach."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@contextmanager
def unprivileged() -> Iterator[None]:
    """As a user who may not read everything and has no leases on others' files."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def version(root: Path, name: str, **files: str) -> Path:
    directory = root / name
    directory.mkdir(parents=True)
    for file, text in (files or {"model.onnx": "weights"}).items():
        (directory / file.replace("__", ".")).write_text(text)
    return directory


def seen(root: Path, name: str, **options: object) -> VersionSeen:
    sight = scan_root(root, IN_ROOT, **options)  # type: ignore[arg-type]
    assert isinstance(sight, RootSeen)
    found = sight.version(name)
    assert found is not None
    return found


def names(root: Path) -> list[str]:
    sight = scan_root(root, IN_ROOT)
    assert isinstance(sight, RootSeen)
    return [v.name for v in sight.versions]


def sums(directory: Path, *missing: str) -> None:
    lines = [f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.name}" for p in sorted(directory.iterdir())]
    lines += [f"{'0' * 64} *{name}" for name in missing]
    (directory / "SHA256SUMS").write_text("\n".join(lines) + "\n")


def test_sees_versions_and_nothing_else(tmp_path: Path) -> None:
    for name in ("v1.0", "v1.1", ".hidden", "v1.2.tmp", "v1.3.part"):
        version(tmp_path, name)
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "stable").symlink_to("v1.0")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "current").symlink_to("v1.1")
    os.mkfifo(tmp_path / "pipe")
    sight = scan_root(tmp_path, IN_ROOT)
    assert isinstance(sight, RootSeen)
    assert [v.name for v in sight.versions] == ["v1.0", "v1.1"]
    assert sight.link == Names("v1.1")
    assert sight.others == 7
    assert sight.identity == (tmp_path.stat().st_dev, tmp_path.stat().st_ino)


def test_counts_bytes_and_files_of_the_whole_tree(tmp_path: Path) -> None:
    directory = version(tmp_path, "v1", a="123", b="45")
    (directory / "golden").mkdir()
    (directory / "golden" / "x.wav").write_text("6789")
    found = seen(tmp_path, "v1")
    assert (found.bytes, found.files, found.error) == (9, 3, "")


def test_an_empty_root_is_not_an_absent_one(tmp_path: Path) -> None:
    sight = scan_root(tmp_path, IN_ROOT)
    assert isinstance(sight, RootSeen)
    assert (sight.versions, sight.link) == ((), Missing())


@pytest.mark.parametrize("kind", ["missing", "file", "dangling"])
def test_a_root_that_cannot_be_read_is_absent_and_says_why(tmp_path: Path, kind: str) -> None:
    root = tmp_path / "models"
    if kind == "file":
        root.write_text("x")
    if kind == "dangling":
        root.symlink_to("nowhere")
    sight = scan_root(root, IN_ROOT)
    assert isinstance(sight, RootAbsent)
    assert str(root) in sight.because


def test_a_root_without_permission_is_absent(common: Path) -> None:
    root = common / "models"
    version(root, "v1")
    root.chmod(0)
    with unprivileged():
        sight = scan_root(root, IN_ROOT)
    root.chmod(0o755)
    assert sight == RootAbsent(f"cannot read {root}: Permission denied")


def test_two_looks_at_the_same_files_agree(tmp_path: Path) -> None:
    version(tmp_path, "v1", a="x", b="y")
    first = scan_root(tmp_path, IN_ROOT)
    (tmp_path / "v1" / "a").read_text()
    assert scan_root(tmp_path, IN_ROOT, before=first) == first


@pytest.mark.parametrize(
    "change",
    [
        lambda d: (d / "a").write_text("other"),
        lambda d: os.utime(d / "a", ns=(1, 1)),
        lambda d: (d / "b").write_text("new"),
        lambda d: (d / "a").unlink(),
        lambda d: (d / "a").rename(d / "c"),
        lambda d: (d / "sub").mkdir(),
        lambda d: (d / "link").symlink_to("/etc/passwd"),
        lambda d: os.truncate(d / "a", 0),
    ],
)
def test_any_change_inside_changes_the_fingerprint(tmp_path: Path, change) -> None:  # type: ignore[no-untyped-def]
    directory = version(tmp_path, "v1", a="1234")
    before = seen(tmp_path, "v1")
    change(directory)
    assert seen(tmp_path, "v1").fingerprint != before.fingerprint


def test_one_byte_changed_with_size_and_time_kept_changes_the_fingerprint(tmp_path: Path) -> None:
    directory = version(tmp_path, "v1", a="1234")
    before, times = seen(tmp_path, "v1"), (directory / "a").stat()
    (directory / "a").write_text("1235")
    os.utime(directory / "a", ns=(times.st_atime_ns, times.st_mtime_ns))
    assert seen(tmp_path, "v1").fingerprint != before.fingerprint


def test_two_versions_that_look_the_same_have_their_own_fingerprints(tmp_path: Path) -> None:
    for name in ("v1", "v2"):
        os.utime(version(tmp_path, name, a="1") / "a", ns=(5, 5))
    assert seen(tmp_path, "v1").fingerprint != seen(tmp_path, "v2").fingerprint


def test_follows_no_link_inside_a_version(tmp_path: Path) -> None:
    directory = version(tmp_path / "root", "v1", a="1")
    outside = version(tmp_path, "outside", big="x" * 100)
    (directory / "sub").symlink_to(outside)
    before = seen(tmp_path / "root", "v1")
    (outside / "more").write_text("x")
    assert seen(tmp_path / "root", "v1") == before
    assert before.bytes == 1


def test_odd_entries_in_a_version_are_looked_at_without_being_opened(tmp_path: Path) -> None:
    directory = version(tmp_path, "v1", a="1")
    os.mkfifo(directory / "pipe")
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(str(directory / "sock"))
        found = seen(tmp_path, "v1", writing_of={"v1"})
    assert (found.files, found.error, found.writing) == (1, "", False)


def test_a_version_beyond_the_limits_is_an_error_of_its_own(tmp_path: Path) -> None:
    version(tmp_path, "v1")
    deep = version(tmp_path, "v2").joinpath(*["d"] * (MAX_DEPTH + 1))
    deep.mkdir(parents=True)
    many = version(tmp_path, "v3")
    for n in range(MAX_ENTRIES):
        os.close(os.open(many / f"{n}", os.O_CREAT | os.O_WRONLY))
    assert seen(tmp_path, "v1").error == ""
    assert "deeper than" in seen(tmp_path, "v2").error
    assert f"more than {MAX_ENTRIES}" in seen(tmp_path, "v3").error


def test_an_unreadable_version_is_an_error_of_its_own(common: Path) -> None:
    version(common, "v1")
    bad = version(common, "v2")
    bad.chmod(0)
    with unprivileged():
        fine, unreadable = seen(common, "v1"), seen(common, "v2")
    bad.chmod(0o755)
    assert fine.error == ""
    assert unreadable.error == f"cannot read it: Permission denied; `chmod -R a+rX {bad}` lets the daemon read it"
    assert not unreadable.passing


def test_a_directory_in_a_version_that_cannot_be_read_is_named(common: Path) -> None:
    bad = version(common, "v2")
    (bad / "golden" / "inner").mkdir(parents=True)
    (bad / "golden" / "inner").chmod(0)
    with unprivileged():
        inner = seen(common, "v2")
    (bad / "golden" / "inner").chmod(0o755)
    (bad / "golden").chmod(0o444)  # its names can be read, and nothing of what they name
    with unprivileged():
        listed = seen(common, "v2")
    (bad / "golden").chmod(0o755)
    assert inner.error.startswith("cannot read golden/inner: Permission denied; ")
    assert listed.error.startswith("cannot read golden: Permission denied; ")
    assert inner.fingerprint != listed.fingerprint


def test_names_that_are_no_utf8_do_no_harm(tmp_path: Path) -> None:
    directory = version(tmp_path, "v1", a="1")
    (Path(os.fsdecode(os.fsencode(directory) + b"/\xff\xfe"))).write_text("x")
    os.mkdir(os.fsencode(tmp_path) + b"/v\xff1")
    assert seen(tmp_path, "v1").files == 2
    assert names(tmp_path) == ["v1"]


# whole or still being copied


def test_a_directory_made_and_filled_in_place_is_not_taken_for_whole(tmp_path: Path) -> None:
    directory = version(tmp_path, "v1", a="1")
    (directory / "b").write_text("2")
    assert not seen(tmp_path, "v1").renamed_in


def test_a_file_renamed_inside_a_directory_does_not_make_it_whole(tmp_path: Path) -> None:
    directory = version(tmp_path, "v1", a="1", b="2")
    eventually(lambda: _ticked(tmp_path, directory))
    (directory / "b").rename(directory / "model.onnx")
    assert not seen(tmp_path, "v1").renamed_in


def test_an_empty_directory_is_not_taken_for_whole(tmp_path: Path) -> None:
    (tmp_path / "v1").mkdir()
    os.chmod(tmp_path / "v1", 0o700)
    assert not seen(tmp_path, "v1").renamed_in


def test_a_directory_renamed_into_the_root_is_whole(tmp_path: Path) -> None:
    source = version(tmp_path / "aside", "v1", a="1")
    root = tmp_path / "root"
    root.mkdir()
    eventually(lambda: _ticked(tmp_path, source))
    source.rename(root / "v1")
    assert seen(root, "v1").renamed_in


def test_a_directory_renamed_in_and_written_afterwards_is_not_whole(tmp_path: Path) -> None:
    source = version(tmp_path, "v1.tmp", a="1")
    eventually(lambda: _ticked(tmp_path, source))
    source.rename(tmp_path / "v1")
    eventually(lambda: _ticked(tmp_path, tmp_path / "v1"))
    (tmp_path / "v1" / "a").write_text("2")
    assert not seen(tmp_path, "v1").renamed_in


@pytest.mark.parametrize("copier", [["cp", "-a"], ["rsync", "-a"]])
def test_a_copy_that_keeps_times_is_whole_when_it_ends(tmp_path: Path, copier: list[str]) -> None:
    if shutil.which(copier[0]) is None:
        pytest.skip(f"{copier[0]} is not installed")
    source = version(tmp_path, "source", a="1", b="2")
    os.utime(source, ns=(1, 1))
    (tmp_path / "root").mkdir()
    target = "v1" if copier[0] == "cp" else "v1/"
    subprocess.run([*copier, f"{source}/" if target == "v1/" else source, tmp_path / "root" / target], check=True)
    assert seen(tmp_path / "root", "v1").renamed_in


def test_an_archive_being_unpacked_is_never_whole_before_its_last_file(tmp_path: Path) -> None:
    source = version(tmp_path, "v1", **{f"f{n}": "x" * 100 for n in range(50)})
    os.utime(source, ns=(1, 1))
    subprocess.run(["tar", "-cf", tmp_path / "a.tar", "-C", tmp_path, "v1"], check=True)
    root = tmp_path / "root"
    root.mkdir()
    with subprocess.Popen(["tar", "-xf", "-", "-C", root], stdin=subprocess.PIPE) as tar:
        assert tar.stdin is not None
        data = (tmp_path / "a.tar").read_bytes()
        for start in range(0, len(data), 4096):
            tar.stdin.write(data[start : start + 4096])
            tar.stdin.flush()
            sight = scan_root(root, IN_ROOT)
            assert isinstance(sight, RootSeen)
            found = sight.version("v1")
            assert found is None or found.files == 50 or not found.renamed_in
        tar.stdin.close()
        assert tar.wait(PATIENCE_SECONDS) == 0


def test_times_in_the_future_only_cost_the_quiet_time(tmp_path: Path) -> None:
    directory = version(tmp_path, "v1.tmp", a="1")
    os.utime(directory / "a", ns=(1 << 62, 1 << 62))
    eventually(lambda: _ticked(tmp_path, directory))
    directory.rename(tmp_path / "v1")
    found = seen(tmp_path, "v1")
    assert not found.renamed_in
    assert found.newest_ns == (1 << 62)


def _ticked(tmp_path: Path, directory: Path) -> bool:
    """Whether the file system's clock moved on since the directory was last changed."""
    probe = tmp_path / ".probe"
    probe.write_text("x")
    return probe.stat().st_ctime_ns > max(p.stat().st_ctime_ns for p in (directory, *directory.iterdir()))


# SHA256SUMS


def test_a_manifest_whose_files_are_all_there_is_complete(tmp_path: Path) -> None:
    sums(version(tmp_path, "v1", a="1", b="2"))
    found = seen(tmp_path, "v1")
    assert (found.has_sums, found.sums_complete) == (True, True)


def test_a_manifest_with_a_missing_file_is_not_complete_until_it_comes(tmp_path: Path) -> None:
    directory = version(tmp_path, "v1", a="1")
    sums(directory, "b")
    before = scan_root(tmp_path, IN_ROOT)
    assert not seen(tmp_path, "v1").sums_complete
    (directory / "b").write_text("2")
    assert seen(tmp_path, "v1", before=before).sums_complete


@pytest.mark.parametrize(("bytes_beyond", "complete"), [(0, True), (1, False)])
def test_a_manifest_counts_up_to_the_size_that_the_validator_reads(
    tmp_path: Path, bytes_beyond: int, complete: bool
) -> None:
    directory = version(tmp_path, "v1", a="1")
    line = f"{'0' * 64}  a\n"
    lines, rest = divmod(MAX_SUMS_BYTES + bytes_beyond, len(line))
    (directory / "SHA256SUMS").write_text(line * lines + "\n" * rest)
    assert seen(tmp_path, "v1").sums_complete is complete


@pytest.mark.parametrize(
    "text",
    ["", "\n", "rubbish\n", f"{'0' * 64}  a", f"{'0' * 64}  ../v1/a\n", f"{'0' * 64}  /etc/passwd\n", "\0" * 100],
)
def test_a_manifest_that_is_cut_or_foreign_is_not_complete(tmp_path: Path, text: str) -> None:
    directory = version(tmp_path, "v1", a="1")
    (directory / "SHA256SUMS").write_text(text)
    found = seen(tmp_path, "v1")
    assert (found.has_sums, found.sums_complete) == (True, False)


def test_a_manifest_that_is_a_link_or_huge_counts_for_nothing(tmp_path: Path) -> None:
    (version(tmp_path, "v1", a="1") / "SHA256SUMS").symlink_to("a")
    (version(tmp_path, "v2", a="1") / "SHA256SUMS").write_text(f"{'0' * 64}  a\n" * 70_000)
    assert not seen(tmp_path, "v1").has_sums
    assert not seen(tmp_path, "v2").sums_complete


# open for writing


def test_tells_a_file_that_is_open_for_writing(tmp_path: Path) -> None:
    directory = version(tmp_path, "v1", a="1", b="2")
    assert seen(tmp_path, "v1").writing is None
    assert seen(tmp_path, "v1", writing_of={"v1"}).writing is False
    with (directory / "b").open("a"):
        assert seen(tmp_path, "v1", writing_of={"v1"}).writing is True
    assert seen(tmp_path, "v1", writing_of={"v1"}).writing is False


def test_a_reader_is_no_writer(tmp_path: Path) -> None:
    directory = version(tmp_path, "v1", a="1")
    with (directory / "a").open():
        assert seen(tmp_path, "v1", writing_of={"v1"}).writing is False


def test_tells_a_writable_mapping_whose_descriptor_is_closed(tmp_path: Path) -> None:
    directory = version(tmp_path, "v1", a="1234")
    with (directory / "a").open("r+b") as file:
        mapping = mmap.mmap(file.fileno(), 0)
    assert seen(tmp_path, "v1", writing_of={"v1"}).writing is True
    mapping.close()


def test_does_not_guess_about_files_of_other_users(common: Path) -> None:
    version(common, "v1", a="1")
    if os.geteuid() != 0:
        pytest.skip("needs a file of somebody else's")
    with unprivileged():
        assert seen(common, "v1", writing_of={"v1"}).writing is None


def test_a_slow_copy_is_never_both_complete_and_unwritten(tmp_path: Path) -> None:
    whole = version(tmp_path, "source", a="1" * 1000, b="2" * 1000)
    sums(whole)
    directory = tmp_path / "v1"
    directory.mkdir()
    for name in ("SHA256SUMS", "a", "b"):
        with (directory / name).open("wb", buffering=0) as out:
            data = (whole / name).read_bytes()
            for start in range(0, len(data), 300):
                out.write(data[start : start + 300])
                found = seen(tmp_path, "v1", writing_of={"v1"})
                assert found.writing is True
        found = seen(tmp_path, "v1", writing_of={"v1"})
        assert found.sums_complete == (name == "b")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory to somebody else")
def test_a_root_behind_a_link_that_another_user_can_change_counts_as_absent_and_one_of_ours_is_followed(
    common: Path,
) -> None:
    version(common / "ours/models", "v1")
    (common / "theirs").mkdir()
    (common / "theirs/app").symlink_to(common / "ours")
    (common / "link").symlink_to("ours/models")
    assert names(common / "link") == ["v1"]
    os.chown(common / "theirs", NOBODY, NOBODY)
    sight = scan_root(common / "theirs/app/models", IN_ROOT)
    assert isinstance(sight, RootAbsent)
    assert f"{common}/theirs/app is a link that uid {NOBODY} can change" in sight.because


def test_directories_whose_names_no_command_can_take_are_reported_and_no_versions(tmp_path: Path) -> None:
    for name in ("v1", "-v9", " ", ".hidden", "v2.tmp"):
        version(tmp_path, name)
    (tmp_path / "-file").touch()
    sight = scan_root(tmp_path, IN_ROOT)
    assert isinstance(sight, RootSeen)
    assert [v.name for v in sight.versions] == ["v1"]
    assert [name for name, _ in sight.ignored] == [" ", "-v9"]


def test_a_link_to_a_directory_elsewhere_is_no_version_and_the_command_that_helps_is_named(tmp_path: Path) -> None:
    root = tmp_path / "models"
    version(root, "m-v1")
    version(tmp_path, "disk").rename(tmp_path / "big disk")
    (root / "m-v2").symlink_to(tmp_path / "big disk")
    (root / "current").symlink_to("m-v1")
    (root / "current_new").symlink_to("m-v1")
    (root / "notes").symlink_to("nothing")
    (root / "README.md").touch()
    (root / "m-v3.partial").mkdir()
    sight = scan_root(root, IN_ROOT)
    assert isinstance(sight, RootSeen)
    ((name, because),) = sight.ignored
    assert name == "m-v2" and f"`cp -rL '{tmp_path}/big disk' m-v2` in {root}" in because
    said = {name: why_no_version(root, "current", name) for name in os.listdir(root)}
    assert said["m-v2"] == because
    assert said["current"] == "that is the link to the live version: it names m-v1"
    assert said["current_new"] == "that is a link to m-v1"
    assert said["README.md"] == "that is a file, and a version is a directory"
    assert "copy under way; rename it" in said["m-v3.partial"]
    assert why_no_version(root, "current", "m-v9") == said["m-v1"] == "there is no such version"
    assert "'m-v1'" in why_no_version(root, "current", f"{root}/m-v1")


@pytest.mark.parametrize(
    ("files", "because"),
    [
        ([], "it holds no files yet"),
        (["golden/"], "it holds no files yet"),
        (["model.onnx"], ""),
        (["model.onnx", "tokens.json.filepart"], "tokens.json.filepart is the name of an unfinished copy or download"),
        (["._____temp/model.onnx"], "._____temp/model.onnx is the name of an unfinished copy or download"),
    ],
)
def test_a_version_shows_that_more_is_to_come(tmp_path: Path, files: list[str], because: str) -> None:
    (tmp_path / "v1").mkdir()
    for file in files:
        (tmp_path / "v1" / file).parent.mkdir(exist_ok=True)
        (tmp_path / "v1" / file).mkdir() if file.endswith("/") else (tmp_path / "v1" / file).touch()
    sight = scan_root(tmp_path, IN_ROOT)
    assert isinstance(sight, RootSeen)
    assert sight.versions[0].arriving == because


def test_a_version_that_is_a_projected_volume_is_another_candidate_after_each_swap(tmp_path: Path) -> None:
    project(tmp_path / "v1", {"model.onnx": b"weights", "golden/a.txt": b"text"})
    first = seen(tmp_path, "v1")
    assert (first.bytes, first.files, first.error, first.misplaced) == (11, 2, "", ())
    project(tmp_path / "v1", {"model.onnx": b"weights", "golden/a.txt": b"text"})
    assert seen(tmp_path, "v1").fingerprint != first.fingerprint


def test_a_root_that_is_a_projected_volume_has_its_versions_where_its_links_lead(tmp_path: Path) -> None:
    files = {"v1/model.onnx": b"one", "v2/model.onnx": b"two", "notes": b"x"}
    content = project(tmp_path, files)
    (tmp_path / "current").symlink_to("v2")
    sight = scan_root(tmp_path, IN_ROOT)
    assert isinstance(sight, RootSeen)
    assert [(v.name, v.within) for v in sight.versions] == [("v1", content.name), ("v2", content.name)]
    assert (sight.link, sight.ignored) == (Names("v2"), ())
    assert (tmp_path / sight.versions[0].within / "v1" / "model.onnx").read_bytes() == b"one"
    project(tmp_path, files)
    after = scan_root(tmp_path, IN_ROOT, before=sight)
    assert isinstance(after, RootSeen) and after.link == Names("v2")
    assert after.versions[0].fingerprint != sight.versions[0].fingerprint


def test_what_nfs_keeps_of_a_deleted_file_changes_no_version(tmp_path: Path) -> None:
    directory = version(tmp_path, "v1")
    before = seen(tmp_path, "v1").fingerprint
    (directory / ".nfs000000000a1b2c3d00000001").touch()
    assert seen(tmp_path, "v1").fingerprint == before


def test_a_root_that_holds_a_models_files_itself_is_said_to_with_what_helps(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").touch()
    sight = scan_root(tmp_path, IN_ROOT)
    assert isinstance(sight, RootSeen) and f"mount the volume at {tmp_path}/v1" in sight.itself
    version(tmp_path, "v1")
    sight = scan_root(tmp_path, IN_ROOT)
    assert isinstance(sight, RootSeen) and sight.itself == ""
