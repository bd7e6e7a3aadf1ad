"""What the kernel says: /proc and control groups on any machine, also while processes vanish or files are cut short."""

from __future__ import annotations

import math
import os
import tempfile
from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st
from tests.fakes.clock import FakeClock
from tests.fuzz.strategies import bytes_like, fuzzed

from modelward.daemon.health.host_metrics import read_machine
from modelward.daemon.health.mounts import Mounts
from modelward.daemon.system import cgroups
from modelward.daemon.system.available_memory import available_bytes
from modelward.daemon.system.processes import identity, identity_in

PRESSURE = b"some avg10=0.00 avg60=1.50 avg300=0.00 total=123456\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=12\n"
VMSTAT = b"nr_free_pages 100\noom_kill 3\npgfault 7\n"
MEMINFO = b"MemTotal: 8000 kB\nMemAvailable:   4000 kB\n"
GROUP = b"0::/a/b\n"
MOUNTINFO = rb"""25 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw
36 25 0:32 / /srv/a\040b rw - tmpfs tmpfs rw
37 25 0:33 / /srv rw
"""
STAT = b"4242 (py thon) S 1 4242 4242 0 -1 4194304 1 0 0 0 5 6 0 0 20 0 1 0 987654 1 2 3\n"
LIMIT, USED, PARTS = b"1000000\n", b"500000\n", b"anon 1\ninactive_file 1000\nactive_file 5\nslab_reclaimable 7\n"
_HUGE = (b"9" * 400, b"9" * 5000, b"-1", b"nan", b"inf", b"")


def _with_huge(data: bytes, *numbers: bytes) -> st.SearchStrategy[bytes]:
    made = [data.replace(number, huge) for number in numbers for huge in _HUGE]
    return st.one_of(bytes_like(data), st.sampled_from(made))


@fuzzed(150)
@given(
    _with_huge(PRESSURE, b"1.50", b"123456"),
    _with_huge(VMSTAT, b"3"),
    _with_huge(MEMINFO, b"4000", b"  4000"),
    bytes_like(GROUP, b"0::/../../etc\n", b"1:cpu:/x\n"),
    st.tuples(_with_huge(LIMIT, b"1000000"), _with_huge(USED, b"500000"), _with_huge(PARTS, b"1000")),
)
@example(PRESSURE, VMSTAT, MEMINFO, GROUP, (b"-1", USED, PARTS))
@example(PRESSURE, VMSTAT, MEMINFO, b"0::/\0/b\n", (LIMIT, USED, PARTS))
@example(
    PRESSURE.replace(b"123456", b"9" * 400), b"oom_kill " + b"9" * 5000, b"MemAvailable: -1 kB", GROUP, (LIMIT,) * 3
)
def test_what_the_kernel_says_is_a_figure_or_absent(
    pressure: bytes, vmstat: bytes, meminfo: bytes, group: bytes, limits: tuple[bytes, bytes, bytes]
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        proc, groups = Path(directory) / "proc", Path(directory) / "groups"
        for path in (proc / "pressure", proc / "self", groups / "a" / "b"):
            path.mkdir(parents=True)
        (proc / "pressure" / "io").write_bytes(pressure)
        (proc / "vmstat").write_bytes(vmstat)
        (proc / "meminfo").write_bytes(meminfo)
        (proc / "self" / "cgroup").write_bytes(group)
        (proc / "self" / "mountinfo").write_text(f"30 1 0:26 / {groups} rw - cgroup2 cgroup2 rw\n")
        for name, data in zip(("memory.max", "memory.current", "memory.stat"), limits, strict=True):
            (groups / "a" / name).write_bytes(data)
        machine = read_machine({"gone": 2**22 + 1, "us": os.getpid()}, proc)
        assert "gone" not in machine.processes
        for line in machine.pressure:
            assert line.resource == "io" and math.isfinite(line.avg60_percent) and math.isfinite(line.total_seconds)
        assert machine.oom_kills is None or 0 <= machine.oom_kills < 10**20
        free = available_bytes(proc, groups)
        assert free is None or free >= 0
        found = cgroups.memory(proc, groups)
        assert found is None or (found.limit_bytes >= 0 and found.free_bytes >= 0)


@fuzzed(120)
@given(bytes_like(MOUNTINFO))
def test_every_path_lies_on_a_mount(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / "self").mkdir()
        (Path(directory) / "self" / "mountinfo").write_bytes(data)
        mounts = Mounts(FakeClock(), os.statvfs, Path(directory))
        found = mounts.read([Path("/srv/a b/c"), Path(directory)])
        assert found and all(mount.space is None or 0 <= mount.space.used_percent <= 100 for mount in found)


@fuzzed(150)
@given(bytes_like(STAT))
@example(b"")
@example(b"1 (x")
@example(b"1 (a) b) c) S " + b"1 " * 40)
@example(STAT.replace(b"987654", b"9" * 5000))
def test_a_process_is_known_by_its_start_or_not_at_all(data: bytes) -> None:
    found = identity_in(4242, data)
    assert found is None or (found.pid == 4242 and isinstance(found.started_ticks, int))


def test_this_process_is_known() -> None:
    ours = identity(os.getpid())
    assert ours is not None and identity_in(os.getpid(), Path("/proc/self/stat").read_bytes()) == ours
