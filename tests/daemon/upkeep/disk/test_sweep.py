"""A sweep on real directories: what goes, what stays, and that each has its reason."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from tests.daemon.upkeep.sweeping import (
    DAY,
    LATER,
    listed,
    make,
    names,
    of,
    orders,
    run,
    spared,
)
from tests.faults import READING, Faults
from tests.support import PATIENCE_SECONDS

from modelward.daemon.upkeep.disk import reasons
from modelward.daemon.upkeep.disk.quota import ClassRule, Margin
from modelward.daemon.upkeep.disk.remover import Budget
from modelward.daemon.upkeep.fs_port import FileSystemPort


@pytest.fixture
def root(tmp_path: Path) -> Path:
    found = tmp_path / "uploads"
    found.mkdir()
    return found


def test_removes_what_is_older_than_its_class_allows_and_keeps_the_rest(root: Path) -> None:
    make(root / "old.wav")
    make(root / "deep/er/old.wav")
    make(root / "new.wav", age_seconds=0)
    outcome = run(orders(root))
    assert names(root) == ["new.wav"]
    assert of(outcome).removed == {"older than 1d": (2, 8192)}
    assert of(outcome).spared["younger than 10m"][0] == 1


def test_a_dry_run_says_the_same_and_removes_nothing(root: Path) -> None:
    make(root / "old.wav")
    make(root / "new.wav", age_seconds=0)
    said = listed(orders(root, dry_run=True))
    assert said == {f"{root}/old.wav": "older than 1d", f"{root}/new.wav": "younger than 10m"}
    assert names(root) == ["new.wav", "old.wav"]
    assert run(orders(root, dry_run=True)).removed_files == run(orders(root)).removed_files == 1


def test_everything_removed_and_everything_spared_has_its_reason(root: Path) -> None:
    make(root / "old")
    make(root / "new", age_seconds=0)
    make(root / "two")
    os.link(root / "two", root / "names")
    make(root / "sticky").chmod(0o1644)
    (root / "link").symlink_to("/etc/passwd")
    os.mkfifo(root / "fifo")
    said = listed(orders(root))
    assert {Path(path).name for path in said} == {"old", "new", "two", "names", "sticky", "link", "fifo"}
    assert all(said.values())


def test_empty_old_directories_go_and_young_ones_stay(root: Path) -> None:
    make(root / "emptied/a")
    (root / "young").mkdir()
    (root / "young/inner").mkdir()
    for name in ("emptied", "young/inner"):
        os.utime(root / name, (LATER - 30 * DAY, LATER - 30 * DAY))
    os.utime(root / "young", (LATER, LATER))
    run(orders(root))
    assert sorted(p.name for p in root.iterdir()) == ["young"]
    assert not list((root / "young").iterdir())


def test_directories_keep_their_times_when_something_in_them_goes(root: Path) -> None:
    make(root / "d/old")
    make(root / "d/new", age_seconds=0)
    os.utime(root / "d", (LATER - 5 * DAY, LATER - 5 * DAY))
    before = (root / "d").stat().st_mtime_ns
    run(orders(root))
    assert names(root) == ["d/new"]
    assert (root / "d").stat().st_mtime_ns == before


def test_the_oldest_go_until_a_class_fits_its_bytes(root: Path) -> None:
    for age in range(1, 11):
        make(root / f"{age:02d}", 4096, age_seconds=age * 3600)
    outcome = run(orders([ClassRule("uploads", str(root), max_bytes=5 * 4096)]))
    assert names(root) == ["01", "02", "03", "04", "05"]
    assert list(of(outcome).removed) == ["uploads holds more than 20KiB: the oldest go"]


def test_the_oldest_go_until_a_class_fits_its_number_of_files(root: Path) -> None:
    for age in range(1, 11):
        make(root / f"d{age % 2}" / f"{age:02d}", age_seconds=age * 3600)
    run(orders([ClassRule("uploads", str(root), max_files=3)]))
    assert names(root) == ["d0/02", "d1/01", "d1/03"]


def test_nothing_younger_than_the_minimum_age_goes_for_any_quota(root: Path) -> None:
    for i in range(5):
        make(root / f"{i}", 4096, age_seconds=300)
    outcome = run(orders([ClassRule("uploads", str(root), max_bytes=1, max_files=1, max_age_seconds=1)]))
    assert len(names(root)) == 5
    assert "younger than 10m 20KiB (5)" in of(outcome).shortfall


def test_when_the_oldest_is_in_use_the_next_ones_go_instead(root: Path) -> None:
    for age in range(1, 6):
        make(root / f"{age}", 4096, age_seconds=age * DAY)
    with open(root / "5"), open(root / "4"):
        run(orders([ClassRule("uploads", str(root), max_bytes=3 * 4096)]))
    assert names(root) == ["1", "4", "5"]


# In use (61)


@pytest.mark.parametrize("how", ["read", "write", "mapped", "locked", "leased", "growing"])
def test_a_file_that_is_read_written_mapped_locked_leased_or_growing_is_kept(root: Path, how: str) -> None:
    path = make(root / "used.bin", 8192)
    script = {
        "read": "f = open(path, 'rb')",
        "write": "f = open(path, 'r+b')",
        "mapped": "f = open(path, 'rb'); m = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ); f.close()",
        "locked": "f = open(path, 'rb'); fcntl.flock(f, fcntl.LOCK_SH)",
        "leased": "f = open(path, 'rb'); fcntl.fcntl(f, fcntl.F_SETLEASE, fcntl.F_RDLCK)",
        "growing": "f = open(path, 'ab', buffering=0); s = os.stat(path)",
    }[how]
    code = f"import fcntl, mmap, os, sys\npath = {str(path)!r}\n{script}\nprint('ready', flush=True)\nsys.stdin.read()"
    holder = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdin is not None and holder.stdout is not None
    assert holder.stdout.readline() == b"ready\n"
    try:
        outcome = run(orders(root))
        assert path.exists()
        assert spared(outcome, reasons.IN_USE) == 1
    finally:
        holder.stdin.close()
        holder.wait(PATIENCE_SECONDS)
        holder.stdout.close()
    assert run(orders(root)).removed_files == 1


def test_a_file_mapped_by_ourselves_with_its_descriptor_closed_is_kept(root: Path) -> None:
    path = make(root / "weights", 8192)
    fd = os.open(path, os.O_RDONLY)
    mapped = mmap.mmap(fd, 0, prot=mmap.PROT_READ)
    os.close(fd)
    run(orders(root))
    assert path.exists()
    mapped.close()


def test_where_leases_cannot_be_had_locks_and_proc_decide(root: Path) -> None:
    make(root / "free")
    no_leases = Faults(1, OSError(errno.EINVAL, "no leases here"), frozenset({"control"}), lasting=True)
    with open(make(root / "used")) as used:
        holder = subprocess.Popen(["sleep", "60"], stdin=used)
    try:
        outcome = run(orders(root), files=no_leases.files)
    finally:
        holder.kill()
        holder.wait(PATIENCE_SECONDS)
    assert spared(outcome, reasons.IN_USE) == 1
    hidden = spared(outcome, reasons.UNPROVEN)  # a process that /proc hides from us might hold it
    assert names(root) == (["free", "used"] if hidden else ["used"])


# Ages (62, 63)


def test_an_upload_that_kept_its_time_of_1990_is_kept_for_the_minimum_age(root: Path) -> None:
    path = root / "old-photo-new-upload"
    path.write_bytes(b"x")
    os.utime(path, (631152000, 631152000))
    now = path.stat().st_ctime + 599
    assert run(orders(root, now=now)).removed_files == 0
    assert run(orders(root, now=now + 2 + DAY)).removed_files == 1


def test_a_file_dated_2099_is_kept_and_said(root: Path) -> None:
    path = make(root / "from-the-future")
    os.utime(path, (4070908800, 4070908800))
    outcome = run(orders(root))
    assert path.exists()
    assert spared(outcome, reasons.FUTURE) == 1


def test_nothing_is_removed_in_a_sweep_whose_clock_cannot_be_trusted(root: Path) -> None:
    make(root / "old")
    outcome = run(orders(root, clock_trouble="the wall clock jumped 73y forward"))
    assert names(root) == ["old"]
    assert "jumped" in outcome.trouble[0]


# Sizes (64)


def test_a_sparse_file_counts_the_blocks_it_has(root: Path) -> None:
    with open(root / "sparse", "wb") as f:
        f.truncate(100 << 20)
    make(root / "real", 8192, age_seconds=2 * DAY)
    run(orders([ClassRule("uploads", str(root), max_bytes=1 << 20)]))
    assert names(root) == ["real", "sparse"]


def test_a_file_with_several_names_counts_once_and_is_not_taken_for_space(root: Path) -> None:
    make(root / "a", 40960)
    for name in "bcde":
        os.link(root / "a", root / name)
    outcome = run(orders([ClassRule("uploads", str(root), max_bytes=50000)]))
    assert of(outcome).before_bytes == 40960
    assert len(names(root)) == 5
    blocked = run(orders([ClassRule("uploads", str(root), max_bytes=10000)]))
    assert len(names(root)) == 5
    assert "other hard links" in of(blocked).shortfall


def test_many_tiny_files_count_their_blocks(root: Path) -> None:
    for i in range(100):
        make(root / f"{i:03d}", 1, age_seconds=(i + 1) * 3600)
    run(orders([ClassRule("uploads", str(root), max_bytes=50 * 4096)]))
    assert len(names(root)) == 50


# The whole disk (64, 66)


def disk(
    root: Path, *, total: int, free: int, inodes: int = 0, free_inodes: int = 0, frees: bool = True
) -> FileSystemPort:
    """A port whose disk has so many blocks of 4096; what is unlinked becomes free unless it is said not to."""
    start = len(names(root))

    def statvfs(_: int) -> os.statvfs_result:
        gone = start - len(names(root)) if frees else 0
        available, files_left = free + gone, free_inodes + gone if inodes else 0
        return os.statvfs_result((4096, 4096, total, available + 50, available, inodes, files_left, files_left, 0, 255))

    return FileSystemPort(statvfs=statvfs)


LOW = {"min_free": Margin(fraction=0.10), "target_free": Margin(fraction=0.15)}


def test_below_the_free_margin_classes_are_swept_past_their_quotas_in_their_order(root: Path) -> None:
    tmp, cache = root / "tmp", root / "cache"
    for i in range(4):
        make(tmp / f"t{i}", 4096, age_seconds=3600 + i)
        make(cache / f"c{i}", 4096, age_seconds=7200 + i)
    rules = [ClassRule("tmp", str(tmp)), ClassRule("cache", str(cache))]
    outcome = run(orders(rules, **LOW), files=disk(root, total=100, free=9))
    assert names(root) == ["cache/c0", "cache/c1"]
    assert list(of(outcome, 0).removed) == ["the disk is low on space: the oldest go"]
    assert not outcome.trouble


def test_above_the_free_margin_nothing_is_taken_beyond_the_quotas(root: Path) -> None:
    make(root / "a", 4096)
    run(orders([ClassRule("tmp", str(root))], **LOW), files=disk(root, total=100, free=10))
    assert names(root) == ["a"]


def test_blocks_kept_for_root_do_not_count_as_free(root: Path) -> None:
    make(root / "a", 4096)
    outcome = run(orders([ClassRule("tmp", str(root))], **LOW), files=disk(root, total=100, free=0))
    assert outcome.removed_files == 1


def test_when_removing_frees_nothing_it_is_said_once_with_what_blocks_it_and_without_a_loop(root: Path) -> None:
    make(root / "free", 4096)
    make(root / "young", 4096, age_seconds=0)
    with open(make(root / "held", 4096)):
        outcome = run(orders([ClassRule("tmp", str(root))], **LOW), files=disk(root, total=100, free=5, frees=False))
    assert names(root) == ["held", "young"]
    assert len(outcome.trouble) == 1
    assert "in use by a process 4KiB (1)" in outcome.trouble[0]
    assert "younger than 10m 4KiB (1)" in outcome.trouble[0]


def test_inodes_that_run_out_are_freed_by_count(root: Path) -> None:
    for i in range(10):
        make(root / f"{i}", 0, age_seconds=3600 + i)
    files = disk(root, total=100, free=90, inodes=100, free_inodes=9)
    outcome = run(orders([ClassRule("tmp", str(root))], **LOW), files=files)
    assert outcome.removed_files == 6
    assert list(of(outcome).removed) == ["the disk is low on inodes: the oldest go"]


def test_a_dry_run_of_a_full_disk_names_what_would_go_and_stops_at_the_target(root: Path) -> None:
    for i in range(20):
        make(root / f"{i:02d}", 4096, age_seconds=3600 + i)
    given = orders([ClassRule("tmp", str(root))], dry_run=True, **LOW)
    outcome = run(given, files=disk(root, total=100, free=5))
    assert outcome.removed_files == 10
    assert len(names(root)) == 20


# Locks (69)


def test_two_cleaners_at_once_the_second_leaves_the_class_alone(root: Path) -> None:
    make(root / "old")
    fd = os.open(root, os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    outcome = run(orders(root))
    os.close(fd)
    assert names(root) == ["old"]
    assert of(outcome).note == "locked by another process: left alone"


@pytest.mark.parametrize("locked", ["mine", "mine/inner"])
def test_a_directory_that_a_user_has_locked_is_left_alone_with_all_below_it(root: Path, locked: str) -> None:
    make(root / "mine/inner/old")
    make(root / "theirs/old")
    fd = os.open(root / locked, os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_SH)
    outcome = run(orders([ClassRule("tmp", str(root), max_age_seconds=DAY, max_bytes=1)]))
    os.close(fd)
    assert names(root) == ["mine/inner/old"]
    assert spared(outcome, reasons.LOCKED) == 1


# Errors (70)


def test_an_immutable_file_is_skipped_counted_and_the_rest_goes(root: Path) -> None:
    path = make(root / "a-immutable")
    make(root / "b")
    if subprocess.run(["chattr", "+i", str(path)], check=False, capture_output=True).returncode:
        pytest.skip("no immutable files here: needs chattr, its file system and the capability")
    try:
        outcome = run(orders(root))
    finally:
        subprocess.run(["chattr", "-i", str(path)], check=True)
    assert names(root) == ["a-immutable"]
    assert spared(outcome, reasons.FORBIDDEN) == 1


@pytest.mark.parametrize("number", [errno.EIO, errno.EBUSY, errno.EPERM, errno.ENOSPC])
def test_any_call_may_fail_and_the_sweep_goes_on(root: Path, number: int) -> None:
    reached, at = True, 0
    while reached:
        at += 1
        for name in ("a/1", "a/2", "b/c/3", "4"):
            make(root / name)
        faults = Faults(
            at, OSError(number, os.strerror(number)), frozenset(FileSystemPort.__slots__) - {"close"} - OPENING
        )
        run(orders(root), files=faults.files)
        reached = faults.reached
        run(orders(root))
        assert names(root) == [], f"{os.strerror(number)} at call {at}, then a sweep without errors"
    assert at > 20


OPENING = frozenset({"open", "open_directory", "flock", "fstat", "statvfs"})


@pytest.mark.parametrize("call", sorted(OPENING))
def test_failing_to_open_or_to_look_never_raises(root: Path, call: str) -> None:
    reached, at = True, 0
    while reached:
        at += 1
        make(root / "a/1")
        faults = Faults(at, OSError(errno.EIO, "Input/output error"), frozenset({call}))
        run(orders(root), files=faults.files)
        reached = faults.reached


def test_reading_calls_are_among_those_that_can_fail() -> None:
    assert frozenset(FileSystemPort.__slots__) >= READING


# Budget (72)


def test_a_sweep_stops_at_its_budget_and_the_next_one_goes_on(root: Path) -> None:
    for i in range(300):
        make(root / f"d{i % 3}" / f"{i}")
    given = orders(root, budget=Budget(files=100, bytes=0, seconds=0))
    removed = [run(given) for _ in range(4)]
    assert [outcome.more for outcome in removed] == [True, True, False, False]
    assert [outcome.removed_files for outcome in removed] == [100, 100, 100, 0]
    assert names(root) == []


def test_a_sweep_that_is_told_to_stop_stops(root: Path) -> None:
    make(root / "old")
    stop = threading.Event()
    stop.set()
    outcome = run(orders(root), stop=stop)
    assert names(root) == ["old"]
    assert outcome.more


# Classes


def test_a_class_inside_another_is_swept_by_its_own_rule_alone(root: Path) -> None:
    make(root / "old")
    make(root / "inner/old")
    rules = [
        ClassRule("tmp", str(root), max_age_seconds=DAY),
        ClassRule("uploads", str(root / "inner"), max_age_seconds=90 * DAY),
    ]
    run(orders(rules))
    assert names(root) == ["inner/old"]


def test_log_files_that_are_written_are_never_removed(root: Path) -> None:
    make(root / "modelward.log")
    make(root / "modelward.log.20250102T030405.123456Z.gz")
    rule = ClassRule("logs", str(root), max_age_seconds=DAY, active=frozenset({"modelward.log"}))
    outcome = run(orders([rule]))
    assert names(root) == ["modelward.log"]
    assert spared(outcome, reasons.ACTIVE) == 1


def test_a_class_that_does_not_exist_yet_is_no_trouble(root: Path) -> None:
    outcome = run(orders(root / "not-yet"))
    assert not outcome.trouble
    assert of(outcome).note == "does not exist yet"
