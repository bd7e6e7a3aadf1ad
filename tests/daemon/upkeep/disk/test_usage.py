"""Where the space went."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from modelward.daemon.upkeep.disk.quota import ClassRule
from modelward.daemon.upkeep.disk.usage import DiskUsage, measure
from modelward.daemon.upkeep.fs_port import FileSystemPort
from modelward.daemon.upkeep.open_files import deleted_but_open


def count(*rules: ClassRule, stop: threading.Event | None = None, **kwargs: object) -> DiskUsage:
    return measure(rules, files=FileSystemPort(), stop=stop or threading.Event(), **kwargs)  # type: ignore[arg-type]


def fill(path: Path, size: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)


def test_counts_blocks_not_claims_and_each_inode_once(tmp_path: Path) -> None:
    root = tmp_path / "a"
    fill(root / "ten", 40960)
    for name in "bcde":
        os.link(root / "ten", root / name)
    with open(root / "sparse", "wb") as f:
        f.truncate(100 << 20)
    directories = root.stat().st_blocks * 512
    found = count(ClassRule("a", str(root))).classes[0]
    assert found.bytes == 40960 + directories
    assert found.files == 6
    assert found.complete


def test_names_the_largest_entries_with_all_they_hold(tmp_path: Path) -> None:
    root = tmp_path / "a"
    fill(root / "small", 4096)
    for i in range(10):
        fill(root / f"big/{i}/file", 40960)
    found = count(ClassRule("a", str(root))).classes[0]
    assert [name for _, name in found.largest] == ["big/", "small"]
    assert found.largest[0][0] >= 10 * 40960


def test_a_link_is_not_followed_and_a_class_inside_another_is_its_own(tmp_path: Path) -> None:
    outside, root = tmp_path / "outside", tmp_path / "a"
    fill(outside / "huge", 1 << 20)
    fill(root / "inner/file", 40960)
    (root / "link").symlink_to(outside)
    outer, inner = count(ClassRule("a", str(root)), ClassRule("b", str(root / "inner"))).classes
    assert outer.bytes < 20_000
    assert inner.bytes >= 40960
    assert outer.complete and inner.complete


def test_a_missing_class_says_so_and_the_others_are_counted(tmp_path: Path) -> None:
    fill(tmp_path / "a/f", 4096)
    missing, present = count(ClassRule("x", str(tmp_path / "x")), ClassRule("a", str(tmp_path / "a"))).classes
    assert missing.note == "does not exist yet"
    assert present.files == 1


def test_can_be_interrupted_and_keeps_what_it_has(tmp_path: Path) -> None:
    fill(tmp_path / "a/f", 4096)
    stop = threading.Event()
    stop.set()
    found = count(ClassRule("a", str(tmp_path / "a")), stop=stop).classes[0]
    assert "interrupted" in found.note
    assert not found.complete


def test_tells_how_far_it_is(tmp_path: Path) -> None:
    root = tmp_path / "a"
    root.mkdir()
    for i in range(10_100):
        os.close(os.open(root / f"{i}", os.O_CREAT | os.O_WRONLY))
    heard: list[tuple[str, int, int]] = []
    count(ClassRule("a", str(root)), progress=lambda *facts: heard.append(facts))
    assert heard and heard[0][0] == "a" and heard[0][1] >= 10_000


def test_names_deleted_files_that_a_process_of_ours_still_holds(tmp_path: Path) -> None:
    fill(tmp_path / "gone", 40960)
    with open(tmp_path / "gone") as held:
        os.unlink(tmp_path / "gone")
        twin = os.dup(held.fileno())
        found = count(pids=[os.getpid()]).deleted_open
        os.close(twin)
    ours = (os.getpid(), str(tmp_path / "gone"), 40960)
    assert found.count(ours) == 1
    assert ours not in deleted_but_open([os.getpid()])


def test_an_empty_file_that_was_deleted_is_named_only_where_it_is_asked_for(tmp_path: Path) -> None:
    with open(tmp_path / "error.log", "ab"):
        os.unlink(tmp_path / "error.log")
        ours = (os.getpid(), str(tmp_path / "error.log"), 0)
        assert ours in deleted_but_open([os.getpid()], empty=True)
        assert ours not in deleted_but_open([os.getpid()])


def test_says_how_much_an_ordinary_process_may_still_use(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    ((names, space),) = count(ClassRule("a", str(tmp_path / "a"))).disks
    v = os.statvfs(tmp_path)
    assert names == ["a"]
    assert abs(space.free_bytes - v.f_bavail * v.f_frsize) < 1 << 28
    assert space.total_bytes == v.f_blocks * v.f_frsize
