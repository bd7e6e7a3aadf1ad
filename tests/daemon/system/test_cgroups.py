"""What control groups allow is read wherever they are mounted, at every level that can be seen, in both versions."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.daemon.groups import tree

from modelward.daemon.system import cgroups

BOTH = pytest.mark.parametrize("first", [True, False], ids=["version 1", "version 2"])


@BOTH
def test_the_tightest_cpu_quota_above_us_counts(tmp_path: Path, first: bool) -> None:
    t = tree(tmp_path, first=first, ours="/a/b")
    t.cpu("/a", 150_000)
    t.cpu("/a/b", 40_000, 10_000)
    assert cgroups.quota(t.proc, t.root) == 1.5
    t.cpu("/a/b", 5_000, 10_000)
    assert cgroups.quota(t.proc, t.root) == 0.5


@BOTH
def test_without_a_quota_there_is_no_limit(tmp_path: Path, first: bool) -> None:
    t = tree(tmp_path, first=first, ours="/a")
    assert cgroups.quota(t.proc, t.root) is None
    t.cpu("/a", None)
    assert cgroups.quota(t.proc, t.root) is None


@BOTH
def test_a_container_that_sees_its_own_group_only_finds_its_limits_at_the_mount_point(
    tmp_path: Path, first: bool
) -> None:
    t = tree(tmp_path, first=first, ours="/docker/abc", top="/docker/abc", point="/other place/groups")
    mounts = (t.proc / "self" / "mountinfo").read_text()
    (t.proc / "self" / "mountinfo").write_text(mounts.replace("other place", "other\\040place"))
    t.cpu("/", 50_000)
    t.memory("/", 1000, 400, cached=300)
    assert cgroups.quota(t.proc, t.root) == 0.5
    assert cgroups.memory(t.proc, t.root) == (1000, 900)


@BOTH
def test_a_group_outside_what_is_mounted_is_taken_for_the_mount_point(tmp_path: Path, first: bool) -> None:
    t = tree(tmp_path, first=first, ours="/../elsewhere")
    t.cpu("/", 50_000)
    assert cgroups.quota(t.proc, t.root) == 0.5


@BOTH
def test_the_group_with_least_memory_left_counts_and_page_cache_is_free(tmp_path: Path, first: bool) -> None:
    t = tree(tmp_path, first=first, ours="/a/b")
    t.memory("/a", 5000, 4500, cached=3000)
    t.memory("/a/b", None, 900)
    assert cgroups.memory(t.proc, t.root) == (5000, 3500)
    t.memory("/a/b", 2000, 1900)
    assert cgroups.memory(t.proc, t.root) == (2000, 100)


def test_memory_above_the_high_mark_is_not_there_for_us(tmp_path: Path) -> None:
    t = tree(tmp_path, first=False, ours="/a")
    t.memory("/a", 5000, 1000, high=3000)
    assert cgroups.memory(t.proc, t.root) == (3000, 2000)


def test_a_limit_above_what_a_container_sees_is_known_from_its_own_figures(tmp_path: Path) -> None:
    t = tree(tmp_path, first=True, ours="/a", top="/a")
    t.memory("/", None, 1000)
    with (t.group("/") / "memory.stat").open("a") as f:
        f.write("hierarchical_memory_limit 4000\n")
    assert cgroups.memory(t.proc, t.root) == (4000, 3000)


@BOTH
def test_processes_killed_for_memory_are_counted_in_our_own_group(tmp_path: Path, first: bool) -> None:
    t = tree(tmp_path, first=first, ours="/a/b")
    assert cgroups.oom_kills(t.proc, t.root) is None
    name, before = ("memory.oom_control", "under_oom 0\n") if first else ("memory.events", "oom 4\n")
    (t.group("/a") / name).write_text(f"{before}oom_kill 9\n")
    assert cgroups.oom_kills(t.proc, t.root) is None
    (t.group("/a/b") / name).write_text(f"{before}oom_kill 2\n")
    assert cgroups.oom_kills(t.proc, t.root) == 2


def test_what_cannot_be_read_allows_everything(tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    assert (cgroups.quota(nowhere), cgroups.memory(nowhere), cgroups.oom_kills(nowhere)) == (None, None, None)
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "cgroup").write_text("nonsense\n")
    (tmp_path / "self" / "mountinfo").write_text("nor this\n1 2 3 - cgroup2\n")
    assert cgroups.quota(tmp_path) is None
