"""A sweep against `find -delete` and systemd-tmpfiles on the same files: CPU, wall time, stalls of a loop.

On a tmpfs, so that the disk has no say. Each cleaner gets a fresh tree; half the files are old. Ours runs in its
process beside an event loop that ticks every millisecond; the longest gap is its stall, measured with idle and with
busy processors. Also the memory of planning a million entries.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import resource
import shutil
import subprocess
import tempfile
import time
import tracemalloc
from pathlib import Path
from typing import Any

from tests.bench.plan import Plan

from modelward.daemon.system import processes
from modelward.daemon.upkeep.disk import reasons, sweeper_client
from modelward.daemon.upkeep.disk.file_table import FileTable
from modelward.daemon.upkeep.disk.quota import ClassRule, over_quota
from modelward.daemon.upkeep.disk.remover import Budget
from modelward.daemon.upkeep.disk.sweep import Orders
from modelward.daemon.upkeep.disk.sweeper_protocol import SweepRequest, Swept

DAY = 86400.0
PER_DIRECTORY = 1000
FILES, ROUNDS, ENTRIES = 200_000, 3, 1_000_000


def plant(root: Path, files: int, now: float) -> None:
    """`files` empty files, every second one a month old as seen from `now`, the others new."""
    root.mkdir(parents=True)
    for d in range(max(1, files // PER_DIRECTORY)):
        path = root / f"d{d:05d}"
        path.mkdir()
        fd = os.open(path, os.O_RDONLY)
        for i in range(min(files, PER_DIRECTORY)):
            name = f"upload-{i:05d}.wav"
            os.close(os.open(name, os.O_CREAT | os.O_WRONLY, 0o644, dir_fd=fd))
            stamp = now if i % 2 else now - 30 * DAY
            os.utime(name, (stamp, stamp), dir_fd=fd)
        os.close(fd)


def left(root: Path) -> int:
    return sum(len(os.listdir(d)) for d in root.iterdir())


def peer(command: list[str], root: Path) -> dict[str, float]:
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(command, check=False, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return {"cpu_seconds": round(cpu, 3), "wall_seconds": round(time.monotonic() - start, 3), "left": left(root)}


def ours(root: Path, now: float, budget: Budget | None = None) -> dict[str, float]:
    """The sweep as the daemon has it done, with the loop beside it; CPU includes the start of the process."""
    rule = ClassRule("uploads", str(root), max_age_seconds=7 * DAY)
    request = SweepRequest(Orders([rule], now, budget=budget or Budget(files=0, bytes=0, seconds=0)))
    argv = processes.python(sweeper_client.MODULE)

    async def beside() -> dict[str, float]:
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        done = asyncio.ensure_future(
            sweeper_client.run(request, processes.spawn, argv, seconds=600, why_keep=lambda rule, unit: "")
        )
        await asyncio.sleep(0)  # starting a process is measured apart: it is the same for every child of the daemon
        gaps = []
        last = time.monotonic()
        while not done.done():
            await asyncio.sleep(0.001)
            now = time.monotonic()
            gaps.append(now - last - 0.001)
            last = now
        swept = await done
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert isinstance(swept, Swept)
        gaps.sort()
        cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
        return {
            "cpu_seconds": round(cpu, 3),
            "wall_seconds": round(time.monotonic() - start, 3),
            "removed": swept.outcome.removed_files,
            "left": left(root),
            "stall_milliseconds": round(gaps[-1] * 1000, 1),
            "stall_p99_milliseconds": round(gaps[int(len(gaps) * 0.99)] * 1000, 1),
        }

    return asyncio.run(beside())


def _spin() -> None:
    while True:
        sum(range(10_000))


def baseline_stall(seconds: float) -> float:
    """The longest gap of the same loop with no sweep at all, in milliseconds: what the machine does by itself."""

    async def tick() -> float:
        worst, last, end = 0.0, time.monotonic(), time.monotonic() + seconds
        while last < end:
            await asyncio.sleep(0.001)
            now = time.monotonic()
            worst, last = max(worst, now - last - 0.001), now
        return worst

    return round(asyncio.run(tick()) * 1000, 1)


def planning(entries: int) -> dict[str, float]:
    """Bytes an entry and seconds for a table of `entries` and a plan that takes half of them."""
    tracemalloc.start()
    table = FileTable("/x/y", 1)
    table.add_place(-1, "", 1)
    for start in range(0, entries, 512):
        stop = min(entries, start + 512)
        names = [f"upload-{i:012d}.wav" for i in range(start, stop)]
        stamps = [1e9 + (i * 7919 % entries) for i in range(start, stop)]
        table.extend(0, names, list(range(start, stop)), [4096] * len(names), stamps, [reasons.WITHIN] * len(names))
    kept = tracemalloc.get_traced_memory()[0]
    over_quota(table, ClassRule("u", "/x/y", max_bytes=4096 * entries // 2))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    start_cpu = time.thread_time()
    over_quota(table, ClassRule("u", "/x/y", max_bytes=4096 * entries // 2))
    return {
        "entries": entries,
        "bytes_an_entry": round(kept / entries, 1),
        "peak_bytes_an_entry": round(peak / entries, 1),
        "plan_cpu_seconds": round(time.thread_time() - start_cpu, 3),
    }


def measure(plan: Plan) -> dict[str, Any]:
    """{"rounds": [{"find", "systemd-tmpfiles", "ours"}], "median_ratio_to_find", "busy_machine", "planning"}."""
    where = Path(tempfile.mkdtemp(prefix="modelward-bench-", dir="/dev/shm"))
    try:
        if plan.quick:
            return _measured(where, FILES // 100, 1, ENTRIES // 100)
        return _measured(where, FILES, ROUNDS, ENTRIES)
    finally:
        shutil.rmtree(where, ignore_errors=True)


def _measured(where: Path, files: int, rounds: int, entries: int) -> dict[str, Any]:
    now = time.time() + 60 * DAY  # a change time cannot be set, so the sweep believes to run later
    found: dict[str, Any] = {"files": files, "rounds": []}
    for _ in range(rounds):
        figures: dict[str, Any] = {}
        root = where / "tree"
        plant(root, files, time.time())
        figures["find"] = peer(["find", str(root), "-type", "f", "-mtime", "+7", "-delete"], root)
        shutil.rmtree(root)
        if shutil.which("systemd-tmpfiles"):
            plant(root, files, time.time())
            (where / "clean.conf").write_text(f"e {root} - - - m:7d\n")
            figures["systemd-tmpfiles"] = peer(["systemd-tmpfiles", "--clean", str(where / "clean.conf")], root)
            shutil.rmtree(root)
        plant(root, files, now)
        figures["ours"] = ours(root, now)
        shutil.rmtree(root)
        figures["ratio_to_find"] = round(figures["ours"]["cpu_seconds"] / figures["find"]["cpu_seconds"], 2)
        found["rounds"].append(figures)
    found["median_ratio_to_find"] = sorted(f["ratio_to_find"] for f in found["rounds"])[rounds // 2]
    hogs = [multiprocessing.Process(target=_spin, daemon=True) for _ in range(2 * (os.cpu_count() or 1))]
    for hog in hogs:
        hog.start()
    try:
        found["busy_machine_without_sweep_stall_milliseconds"] = baseline_stall(2.0)
        plant(where / "tree", files // 4, now)
        found["busy_machine"] = ours(where / "tree", now)
    finally:
        for hog in hogs:
            hog.kill()
    shutil.rmtree(where / "tree")
    found["planning"] = planning(entries)
    return found
