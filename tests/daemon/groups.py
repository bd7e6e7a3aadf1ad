"""A fake /proc and control group tree, of version 1 or 2, for what reads them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

V1_UNLIMITED = 9223372036854771712


@dataclass(frozen=True)
class Tree:
    """`proc` and `root` are what a reader is given; the groups are mounted at `point` below `root`."""

    proc: Path
    root: Path
    point: str
    first: bool

    def group(self, path: str, controller: str = "memory") -> Path:
        place = self.root / self.point.strip("/") / (controller if self.first else "") / path.strip("/")
        place.mkdir(parents=True, exist_ok=True)
        return place

    def memory(self, path: str, limit: int | None, used: int, *, cached: int = 0, high: int | None = None) -> None:
        place = self.group(path)
        if self.first:
            (place / "memory.limit_in_bytes").write_text(f"{V1_UNLIMITED if limit is None else limit}\n")
            (place / "memory.usage_in_bytes").write_text(f"{used}\n")
            (place / "memory.stat").write_text(f"cache {cached}\ntotal_inactive_file {cached}\n")
        else:
            (place / "memory.max").write_text(f"{'max' if limit is None else limit}\n")
            (place / "memory.high").write_text(f"{'max' if high is None else high}\n")
            (place / "memory.current").write_text(f"{used}\n")
            (place / "memory.stat").write_text(f"anon {used - cached}\ninactive_file {cached}\n")

    def cpu(self, path: str, quota_us: int | None, period_us: int = 100_000) -> None:
        place = self.group(path, "cpu")
        if self.first:
            (place / "cpu.cfs_quota_us").write_text(f"{-1 if quota_us is None else quota_us}\n")
            (place / "cpu.cfs_period_us").write_text(f"{period_us}\n")
        else:
            (place / "cpu.max").write_text(f"{'max' if quota_us is None else quota_us} {period_us}\n")


def tree(
    tmp_path: Path, *, first: bool, ours: str = "/", top: str = "/", point: str = "/sys/fs/cgroup", kib: int = 1 << 20
) -> Tree:
    """A machine with `kib` KiB available of twice as many, this process in the group `ours`, `top` mounted."""
    proc, root = tmp_path / "proc", tmp_path / "root"
    (proc / "self").mkdir(parents=True)
    (proc / "meminfo").write_text(f"MemTotal: {2 * kib} kB\nMemAvailable: {kib} kB\n")
    other = "30 20 0:3 / /proc rw - proc proc rw\n"
    if first:
        (proc / "self" / "cgroup").write_text(f"5:memory:{ours}\n4:cpu,cpuacct:{ours}\n0::/\n")
        lines = [
            f"31 20 0:4 {top} {point}/memory rw,relatime shared:9 - cgroup cgroup rw,memory\n",
            f"32 20 0:5 {top} {point}/cpu rw,relatime - cgroup cgroup rw,cpu,cpuacct\n",
            f"33 20 0:6 / {point}/unified rw - cgroup2 cgroup2 rw\n",
        ]
    else:
        (proc / "self" / "cgroup").write_text(f"0::{ours}\n")
        lines = [f"31 20 0:4 {top} {point} rw,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"]
    (proc / "self" / "mountinfo").write_text(other + "".join(lines))
    return Tree(proc, root, point, first)
