"""Somebody exchanges names while a tree is swept: nothing outside it may ever go."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from tests.attackers import Exchanger
from tests.daemon.upkeep.sweeping import (
    DAY,
    make,
    names,
    orders,
    run,
    spared,
)
from tests.namespaces import in_private_mounts
from tests.support import eventually

from modelward.daemon.system.clock import SystemClock
from modelward.daemon.upkeep.disk import reasons, trash
from modelward.daemon.upkeep.disk.quota import ClassRule
from modelward.daemon.upkeep.disk.remover import Budget, Remover
from modelward.daemon.upkeep.disk.walk import MAX_DEPTH
from modelward.daemon.upkeep.fs_port import FileSystemPort

pytestmark = pytest.mark.system

ROUNDS = 60
DIRECTORIES, FILES = 8, 12


def plant(base: Path) -> tuple[Path, Path, list[tuple[Path, Path]]]:
    """A tree to clean, a victim outside with the same names, and beside each directory a link into the victim."""
    tree, victim = base / "tree", base / "victim"
    pairs = []
    for d in range(DIRECTORIES):
        for f in range(FILES):
            make(tree / f"d{d}" / f"f{f}", 1)
            make(victim / f"d{d}" / f"f{f}", 1)
        make(tree / f"d{d}" / "young", age_seconds=0)  # so that the directory itself stays
        link = tree / f"l{d}"
        if not link.is_symlink():
            link.symlink_to(victim / f"d{d}")
        pairs.append((tree / f"d{d}", link))
    return tree, victim, pairs


def refill(base: Path, pairs: list[tuple[Path, Path]]) -> None:
    """Puts the files that a round removed back, wherever the directories are now."""
    for pair in pairs:
        for place in pair:
            if place.is_symlink():
                continue
            try:
                fd = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            except OSError:
                continue
            for f in range(FILES):
                os.close(os.open(f"f{f}", os.O_CREAT | os.O_WRONLY, 0o644, dir_fd=fd))
            os.close(fd)


def test_no_file_outside_goes_while_directories_are_exchanged_with_links(tmp_path: Path) -> None:
    tree, victim, pairs = plant(tmp_path)
    before = names(victim)
    removed = 0
    with Exchanger(pairs):
        for turn in range(ROUNDS):
            outcome = run(orders([ClassRule("uploads", str(tree), max_age_seconds=DAY, max_files=turn % 3)]))
            removed += outcome.removed_files
            refill(tmp_path, pairs)
    assert names(victim) == before
    assert removed > ROUNDS, "the sweeps did remove what was theirs"


def test_the_same_attack_makes_a_cleaner_that_goes_by_paths_remove_files_outside(tmp_path: Path) -> None:
    tree, victim, pairs = plant(tmp_path)
    before = names(victim)
    with Exchanger(pairs):

        def lost_something() -> bool:
            for where, _, found in os.walk(tree):
                for name in found:
                    path = os.path.join(where, name)
                    if not os.path.islink(path):
                        try:
                            os.remove(path)
                        except OSError:
                            continue
            refill(tmp_path, pairs)
            return names(victim) != before

        eventually(lost_something)


def test_no_unit_outside_goes_while_directories_are_exchanged_with_links(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    make(victim / "model.onnx")
    tree = tmp_path / "tree"
    pairs = []
    for turn in range(40):
        make(tree / f"v{turn}" / "model.onnx", 1)
        (tree / f".l{turn}").symlink_to(victim)
        pairs.append((tree / f"v{turn}", tree / f".l{turn}"))
    rule = ClassRule("versions", str(tree), max_age_seconds=DAY, unit="directory")
    with Exchanger(pairs):
        for _ in range(60):
            run(orders([rule]))
    assert names(victim) == ["model.onnx"]


def test_a_file_exchanged_with_a_hard_link_leaves_the_other_name_alone(tmp_path: Path) -> None:
    victim = make(tmp_path / "victim/secret", 50)
    tree = tmp_path / "tree"
    make(tree / "mine")
    os.link(victim, tree / "theirs")
    with Exchanger([(tree / "mine", tree / "theirs")]):
        for _ in range(ROUNDS):
            run(orders(tree))
            if not (tree / "mine").exists() or not (tree / "theirs").exists():
                break
    assert victim.read_bytes() == b"x" * 50


def test_a_directory_moved_up_and_out_takes_no_neighbour_with_it(tmp_path: Path) -> None:
    tree, outside = tmp_path / "tree", tmp_path / "outside"
    for f in range(30):
        make(tree / "a/b/c" / f"f{f}")
        make(outside / "c" / f"f{f}")
        make(outside / f"f{f}")
    (outside / "empty").mkdir()
    before = names(outside)
    with Exchanger([(tree / "a/b/c", outside / "empty")]):
        for _ in range(50):
            run(orders(tree))
    assert set(before) <= set(names(outside))


def test_names_with_newlines_invalid_utf8_and_full_length_are_removed_like_any_other(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    odd = [b"new\nline", b"\xff\xfe\x80", b"n" * 255, b"-rf", b" ", b"..hidden", b"a|b;c$(d)`e`"]
    for name in odd:
        os.mkdir(os.fsencode(tree) + b"/" + name)
        path = Path(os.fsdecode(os.fsencode(tree) + b"/" + name + b"/" + name))
        make(path)
    outcome = run(orders(tree))
    assert names(tree) == []
    assert outcome.removed_files == len(odd)
    assert not outcome.trouble


def test_a_tree_three_thousand_deep_neither_crashes_nor_is_entered_too_far(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    _dig(tree, 3_000)
    make(tree / "old")
    outcome = run(orders(tree))
    assert outcome.removed_files == 1
    assert spared(outcome, reasons.TOO_DEEP) == 1
    assert MAX_DEPTH < 64, "one descriptor a level"
    _throw_away(tmp_path, "tree")


def test_a_unit_three_thousand_deep_is_deleted_with_few_descriptors(tmp_path: Path) -> None:
    _dig(tmp_path / "unit", 3_000)
    _throw_away(tmp_path, "unit")
    assert [p.name for p in tmp_path.iterdir()] == [".trash"]
    assert not list((tmp_path / ".trash").iterdir())


def _dig(top: Path, depth: int) -> None:
    top.mkdir()
    fd = os.open(top, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=fd)
        below = os.open("d", os.O_RDONLY | os.O_NOFOLLOW, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(os.open("bottom", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
    os.close(fd)


def _throw_away(root: Path, name: str) -> None:
    fd = os.open(root, os.O_RDONLY)
    trash.throw_away(fd, name, FileSystemPort(), stamp_ns=1)
    remover = Remover(
        FileSystemPort(), SystemClock(), Budget(files=0, bytes=0, seconds=0), threading.Event(), dry_run=False
    )
    trash.empty(fd, remover)
    os.close(fd)


MOUNTS = """
import os, subprocess, sys
from pathlib import Path
from tests.daemon.upkeep.sweeping import DAY, make, names, orders, run, spared, of
from modelward.daemon.upkeep.disk import reasons as because
from modelward.daemon.upkeep.disk.quota import ClassRule, Margin
base = Path(sys.argv[1])
tree, victim = base / "tree", base / "victim"
make(victim / "deep/precious"); make(tree / "old"); (tree / "bound").mkdir(); (tree / "other").mkdir()
make(tree / "unit/file"); (tree / "unit/bound").mkdir(); (tree / "filemount").touch()
subprocess.run(["mount", "--bind", victim, tree / "bound"], check=True)
subprocess.run(["mount", "--bind", victim, tree / "unit/bound"], check=True)
subprocess.run(["mount", "-t", "tmpfs", "none", tree / "other"], check=True)
make(tree / "other/foreign")
os.utime(tree / "filemount", (1, 1))
subprocess.run(["mount", "--bind", victim / "deep/precious", tree / "filemount"], check=True)
outcome = run(orders([ClassRule("uploads", str(tree), max_age_seconds=DAY, max_bytes=1)]))
assert (victim / "deep/precious").exists(), "through the bind mount"
assert (tree / "other/foreign").exists(), "on another file system"
assert (tree / "filemount").exists()
assert not (tree / "old").exists()
assert spared(outcome, because.ELSEWHERE) >= 3, of(outcome).spared
make(tree / "unit/file")
outcome = run(orders([ClassRule("versions", str(tree), max_age_seconds=DAY, unit="directory")]))
assert (victim / "deep/precious").exists()
assert (tree / "unit").exists(), "a unit that holds a mount stays"
print("done")
"""


def test_bind_mounts_and_other_file_systems_inside_the_tree_are_left_alone(tmp_path: Path) -> None:
    assert in_private_mounts(MOUNTS, str(tmp_path)).endswith("done\n")


BIND_RACE = """
import ctypes, os, subprocess, sys, threading
from pathlib import Path
from tests.daemon.upkeep.sweeping import DAY, make, names, orders, run
base = Path(sys.argv[1])
tree, victim = base / "tree", base / "victim"
for i in range(20):
    make(victim / f"f{i}"); make(tree / "d" / f"f{i}")
libc = ctypes.CDLL(None)
over = threading.Event()
def attack():
    while not over.is_set():
        libc.mount(bytes(victim), bytes(tree / "d"), None, 4096, None)
        libc.umount2(bytes(tree / "d"), 2)
thread = threading.Thread(target=attack); thread.start()
for _ in range(80):
    run(orders(tree))
    for i in range(20):
        make(base / "refill" / f"f{i}")
over.set(); thread.join()
assert len(names(victim)) == 20, names(victim)
print("done")
"""


def test_no_file_outside_goes_while_a_bind_mount_comes_and_goes(tmp_path: Path) -> None:
    assert in_private_mounts(BIND_RACE, str(tmp_path)).endswith("done\n")


INODES = """
import os, subprocess, sys
from pathlib import Path
from tests.daemon.upkeep.sweeping import DAY, make, names, orders, run
from modelward.daemon.upkeep.disk.quota import ClassRule, Margin
base = Path(sys.argv[1])
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=10m,nr_inodes=200", "none", base], check=True)
root = base / "tmp"
made = 0
try:
    for i in range(1000):
        make(root / f"{i:04d}", 0, age_seconds=30 * DAY - i); made += 1
except OSError as e:
    assert e.errno == 28, e
assert made < 250
low = {"min_free": Margin(fraction=0.10), "target_free": Margin(fraction=0.25)}
outcome = run(orders([ClassRule("tmp", str(root))], **low))
v = os.statvfs(base)
assert v.f_favail >= 50, v
assert not outcome.trouble, outcome.trouble
assert names(root)[0] > "0040", names(root)[0]
print("done")
"""


def test_a_file_system_without_inodes_left_gets_them_back_by_count(tmp_path: Path) -> None:
    assert in_private_mounts(INODES, str(tmp_path)).endswith("done\n")


DELETED = """
import os, subprocess, sys
from pathlib import Path
from tests.daemon.upkeep.sweeping import DAY, make, names, orders, run, of
from modelward.daemon.upkeep.open_files import deleted_but_open
from modelward.daemon.upkeep.disk.quota import ClassRule, Margin
base = Path(sys.argv[1])
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=10m", "none", base], check=True)
root = base / "tmp"
make(root / "gone", 8 << 20)
held = open(root / "gone"); os.unlink(root / "gone")
make(root / "small", 4096)
make(root / "young", 4096, age_seconds=0)
low = {"min_free": Margin(fraction=0.50), "target_free": Margin(fraction=0.50)}
outcome = run(orders([ClassRule("tmp", str(root))], **low))
assert names(root) == ["young"]
assert len(outcome.trouble) == 1 and "freed 4KiB" in outcome.trouble[0], outcome.trouble
found = deleted_but_open([os.getpid()])
assert found == [(os.getpid(), str(root / "gone"), 8 << 20)], found
print("done")
"""


def test_space_that_a_deleted_but_open_file_keeps_is_named_and_not_swept_for_in_vain(tmp_path: Path) -> None:
    assert in_private_mounts(DELETED, str(tmp_path)).endswith("done\n")
