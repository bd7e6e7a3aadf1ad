"""How much memory is left, by the machine's word and by the groups' above us."""

from __future__ import annotations

from pathlib import Path

from modelward.daemon.memory import available_bytes


def _machine(tmp_path: Path, available_kib: int, group: str = "/") -> tuple[Path, Path]:
    proc, groups = tmp_path / "proc", tmp_path / "cgroup"
    (proc / "self").mkdir(parents=True)
    groups.mkdir()
    (proc / "meminfo").write_text(f"MemTotal: 9999999 kB\nMemAvailable: {available_kib} kB\n")
    (proc / "self" / "cgroup").write_text(f"0::{group}\n")
    return proc, groups


def _limit(group: Path, limit: str, used: int, cached: int = 0) -> None:
    group.mkdir(parents=True, exist_ok=True)
    (group / "memory.max").write_text(limit + "\n")
    (group / "memory.current").write_text(f"{used}\n")
    (group / "memory.stat").write_text(f"anon {used - cached}\ninactive_file {cached}\n")


def test_without_groups_the_machine_decides(tmp_path: Path) -> None:
    assert available_bytes(*_machine(tmp_path, 1000)) == 1000 * 1024


def test_the_tightest_group_above_us_decides(tmp_path: Path) -> None:
    proc, groups = _machine(tmp_path, 1_000_000, "/system.slice/modelward.service")
    _limit(groups / "system.slice", "5000", 1000)
    _limit(groups / "system.slice" / "modelward.service", "max", 900)
    assert available_bytes(proc, groups) == 4000


def test_what_a_group_caches_can_be_had(tmp_path: Path) -> None:
    proc, groups = _machine(tmp_path, 1_000_000, "/g")
    _limit(groups / "g", "5000", 4000, cached=3000)
    assert available_bytes(proc, groups) == 4000


def test_an_unreadable_machine_gives_no_figure(tmp_path: Path) -> None:
    assert available_bytes(tmp_path / "nowhere", tmp_path) is None


def test_this_machine_has_some() -> None:
    assert (available_bytes() or 0) > 1 << 20
