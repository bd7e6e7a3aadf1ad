"""Measuring a real machine, and machines that lack things, lose them while one looks, or do not answer."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest
from tests.daemon.health.measuring import collect
from tests.support import PATIENCE_SECONDS, eventually

from modelward.daemon.config.alert_metrics import FIGURES
from modelward.daemon.health.alerts import Figure
from modelward.daemon.health.host_metrics import read_machine
from modelward.daemon.health.mounts import (
    MAX_MOUNTS,
    STUCK_SECONDS,
    Mounts,
    MountSpace,
)
from modelward.daemon.health.sampler import (
    MEASURED,
    Sampler,
    SystemSample,
    Totals,
    WorkerSeen,
)
from modelward.daemon.system.clock import SystemClock


class HandClock:
    """A clock that is moved by hand; threads may read it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def elapsed(self) -> float:
        return self.now

    def wall(self) -> float:
        return 1_800_000_000.0 + self.now


def worker(name: str = "w1", pid: int = 0, requests: int = 0, errors: int = 0) -> WorkerSeen:
    return WorkerSeen(name, pid, requests, errors, 0, 0.01, 1 << 20, True)


def value(sample: SystemSample, metric: str, subject: str = "") -> float | None:
    return next((f.value for f in sample.figures if f.metric == metric and f.subject == subject), None)


# the machine


def test_measures_this_machine(tmp_path: Path) -> None:
    monitor = Sampler(SystemClock(), 10.0)
    collect(monitor, 10.0, [tmp_path], [])
    eventually(lambda: value(collect(monitor, 10.0, [tmp_path], []), "cpu_used_percent") is not None)
    sample = collect(monitor, 10.0, [tmp_path], [worker(pid=os.getpid())])
    for metric in ("memory_used_percent", "daemon_resident_bytes"):
        assert (value(sample, metric) or 0) > 0
    (disk,) = [f for f in sample.figures if f.metric == "disk_used_percent"]
    assert 0 <= (disk.value or 0) <= 100
    assert (value(sample, "worker_resident_bytes", "w1") or 0) > 1 << 22
    assert sample.seconds < 1
    assert {f.metric for f in sample.figures} <= set(MEASURED) <= set(FIGURES)


def test_the_first_measurement_has_no_rate_rather_than_a_wrong_one(tmp_path: Path) -> None:
    sample = collect(Sampler(SystemClock(), 10.0), 10.0, [tmp_path], [])
    assert Figure("cpu_used_percent", None, "", "it takes two measurements", expected=True) in sample.figures
    assert sample.row["requests_per_second"] is None


def test_what_this_kernel_does_not_tell_is_absent_and_not_zero(tmp_path: Path) -> None:
    """No pressure-stall information, no vmstat, version 1 control groups, no mountinfo: an empty /proc."""
    monitor = Sampler(SystemClock(), 10.0, proc=tmp_path)
    sample = collect(monitor, 10.0, [tmp_path], [])
    missing = {"cpu_pressure_percent", "memory_pressure_percent", "io_pressure_percent", "oom_kills"}
    assert not {f.metric for f in sample.figures} & missing
    assert sample.machine.pressure == ()
    assert sample.machine.oom_kills is None
    assert monitor.series.answer("1h").series["io_pressure_percent"] == [None]
    (tmp_path / "self").mkdir()
    (tmp_path / "self/cgroup").write_text("4:memory:/old/way\n")
    assert collect(monitor, 10.0, [tmp_path], []).machine.memory_used_percent is None
    (tmp_path / "meminfo").write_text("MemTotal: 1000 kB\nMemFree: 100 kB\nMemAvailable: 400 kB\nSwapTotal: 0 kB\n")
    machine = collect(monitor, 10.0, [tmp_path], []).machine
    assert (machine.memory_used_percent, machine.memory_available_bytes) == (60.0, 400 * 1024)
    assert machine.swap_used_percent is None


@pytest.mark.parametrize(
    "text", ["", "some", "some avg60=x total=1", "some avg10=1 total=5", "full avg60=1.0 total=\n\n"]
)
def test_a_pressure_file_that_is_cut_or_odd_is_absent(tmp_path: Path, text: str) -> None:
    (tmp_path / "pressure").mkdir()
    (tmp_path / "pressure/io").write_text(text)
    assert read_machine({}, tmp_path).pressure == ()


def test_reads_pressure_and_kills_as_the_kernel_writes_them(tmp_path: Path) -> None:
    (tmp_path / "pressure").mkdir()
    line = "avg10=1.00 avg60=12.50 avg300=3.00 total=2500000\n"
    (tmp_path / "pressure/io").write_text(f"some {line}full {line}")
    (tmp_path / "vmstat").write_text("nr_free_pages 5\noom_kill 3\n")
    clock = HandClock()
    monitor = Sampler(clock, 10.0, proc=tmp_path)
    sample = collect(monitor, 10.0, [], [])
    assert value(sample, "io_pressure_percent") == 12.5
    assert sample.machine.pressure[1].total_seconds == 2.5
    assert value(sample, "oom_kills") == 0  # they were before us
    (tmp_path / "vmstat").write_text("oom_kill 5\n")
    clock.now += 10
    assert value(collect(monitor, 10.0, [], []), "oom_kills") == 2
    clock.now += 595
    assert value(collect(monitor, 10.0, [], []), "oom_kills") == 2
    clock.now += 10
    assert value(collect(monitor, 10.0, [], []), "oom_kills") == 0


def test_what_a_process_uses_is_what_psutil_says_of_it() -> None:
    with subprocess.Popen([sys.executable, "-c", "print(); input()"], stdin=-1, stdout=-1) as child:
        assert child.stdout is not None and child.stdout.readline()
        found, known = read_machine({"w1": child.pid}).processes["w1"], psutil.Process(child.pid)
        assert found.resident_bytes == pytest.approx(known.memory_info().rss, rel=0.05)
        assert found.cpu_seconds == pytest.approx(sum(known.cpu_times()[:2]), abs=0.1)
        assert found.open_fds == known.num_fds()
        child.communicate(b"\n")


def test_processes_that_vanish_while_they_are_read_are_left_out() -> None:
    """Hundreds of looks at a process that dies in the middle of them."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert "w1" in read_machine({"w1": child.pid}).processes
    killer = threading.Timer(0.05, child.kill)
    killer.start()
    while child.poll() is None:
        read_machine({"w1": child.pid, "w2": 2**22 - 3})
    killer.join()
    child.communicate()
    assert read_machine({"w1": child.pid}).processes == {}


# mounts


def test_a_mount_that_never_answers_holds_up_nothing_and_costs_one_thread(tmp_path: Path) -> None:
    release = threading.Event()
    calls: list[str] = []

    def stuck(mount: str) -> os.statvfs_result:
        calls.append(mount)
        release.wait(PATIENCE_SECONDS)
        return os.statvfs("/")

    (tmp_path / "self").mkdir()
    (tmp_path / "self/mountinfo").write_text("21 1 0:5 / / rw - nfs4 far:/ rw\n")
    clock = HandClock()
    mounts = Mounts(clock, stuck, tmp_path)
    try:
        for look in range(20):
            clock.now += 1.0 if look else 0.0
            (mount,) = mounts.read([Path("/tmp/a"), Path("/tmp/b")])
            assert mount.space is None
            assert mounts.threads == 1
        assert len(calls) == 1
        assert mount.stuck
        assert "no answer for 19 s" in mount.because
    finally:
        release.set()
    eventually(lambda: mounts.threads == 0)
    assert mounts.read([Path("/tmp/a")])[0].space is not None
    assert len(calls) == 1  # the answer that was waited for


def test_the_other_figures_come_in_time_while_a_mount_is_stuck(tmp_path: Path) -> None:
    release = threading.Event()
    (tmp_path / "self").mkdir()
    (tmp_path / "self/mountinfo").write_text(
        "21 1 8:1 / / rw - ext4 /dev/sda1 rw\n22 21 0:5 / /mnt/far\\040away rw - fuse.sshfs x rw\n"
    )

    def statvfs(mount: str) -> os.statvfs_result:
        if mount == "/mnt/far away":
            release.wait(PATIENCE_SECONDS)
        return os.statvfs("/")

    clock = HandClock()
    monitor = Sampler(clock, 10.0, proc=tmp_path, statvfs=statvfs)
    try:
        for _ in range(3):
            sample = collect(monitor, 10.0, [Path("/mnt/far away/models"), Path("/var/lib")], [])
            clock.now += STUCK_SECONDS
        assert value(sample, "disk_used_percent", "/") is not None
        assert value(sample, "disk_used_percent", "/mnt/far away") is None
        assert value(sample, "mount_stuck", "/mnt/far away") == 1
        assert value(sample, "mount_stuck", "/") == 0
        assert sample.row["disk_used_percent"] is not None
    finally:
        release.set()


def test_a_mount_that_fails_says_why() -> None:
    def broken(mount: str) -> os.statvfs_result:
        raise OSError(107, "Transport endpoint is not connected")

    (mount,) = Mounts(HandClock(), broken).read([Path("/x")])
    assert (mount.space, mount.because, mount.stuck) == (None, "Transport endpoint is not connected", False)


def test_a_path_over_a_link_counts_for_the_file_system_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "self").mkdir()
    far = tmp_path / "far"
    (far / "models").mkdir(parents=True)
    (tmp_path / "models").symlink_to(far / "models")
    (tmp_path / "self/mountinfo").write_text(f"1 1 8:1 / / rw - ext4 a rw\n2 1 8:2 / {far} rw - ext4 b rw\n")
    looked = Mounts(SystemClock(), os.statvfs, tmp_path).read([tmp_path / "models"])
    assert [mount.mount for mount in looked] == ["/", str(far)]


def test_no_number_of_mounts_makes_more_than_so_many_threads(tmp_path: Path) -> None:
    (tmp_path / "self").mkdir()
    lines = [f"{n} 1 8:1 / /m{n} rw - ext4 a rw\n" for n in range(200)]
    (tmp_path / "self/mountinfo").write_text("".join(lines))
    looked = Mounts(SystemClock(), lambda _: os.statvfs("/"), tmp_path).read(Path(f"/m{n}/x") for n in range(200))
    assert len(looked) <= MAX_MOUNTS


def test_used_is_counted_as_df_does() -> None:
    space = MountSpace(size_bytes=1000, free_bytes=300, reserved_bytes=100, inodes=0, free_inodes=0)
    assert space.used_percent == pytest.approx(100 * 600 / 900)
    assert space.inodes_used_percent is None
    assert MountSpace(0, 0, 0, 10, 4).inodes_used_percent == 60
    assert MountSpace(0, 0, 0, 0, 0).used_percent == 0


# workers


def test_a_workers_restart_is_no_step_back() -> None:
    totals = Totals()
    totals.add([worker(pid=1, requests=100, errors=5)])  # before we looked
    totals.add([worker(pid=1, requests=130, errors=6)])
    assert (totals.requests, totals.errors) == (30, 1)
    totals.add([worker(pid=2, requests=7)])
    totals.add([worker(pid=2, requests=10)])
    assert (totals.requests, totals.errors) == (33, 1)
    totals.add([])  # gone, and taken back by a daemon that began anew
    totals.add([worker(pid=3, requests=1_000_000)])
    assert totals.requests == 33


def test_rates_are_per_second_between_two_measurements() -> None:
    clock = HandClock()
    monitor = Sampler(clock, 10.0)
    collect(monitor, 10.0, [], [worker(requests=100)])
    clock.now += 10
    sample = collect(monitor, 10.0, [], [worker(requests=150, errors=5)])
    assert sample.row["requests_per_second"] == 5
    assert value(sample, "requests_failed_percent") == 10


def test_what_answers_from_memory_is_asked_without_a_thread_of_its_own(tmp_path: Path) -> None:
    asked: list[threading.Thread] = []
    (tmp_path / "self").mkdir()
    (tmp_path / "self/mountinfo").write_text("1 1 8:1 / / rw - ext4 a rw\n2 1 0:9 / /far rw - nfs4 b rw\n")

    def statvfs(mount: str) -> os.statvfs_result:
        asked.append(threading.current_thread())
        return os.statvfs("/")

    (tmp_path / "there").symlink_to("/far")
    mounts = Mounts(SystemClock(), statvfs, tmp_path)
    mounts.read([tmp_path / "models"])
    assert asked == [threading.current_thread()]
    asked.clear()
    mounts.read([tmp_path / "there" / "models"])  # over a link: nobody knows how long the way takes
    assert asked and threading.current_thread() not in asked
