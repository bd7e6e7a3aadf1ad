"""How much memory a worker says it has."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

import psutil

from modelward.worker.resident_memory import Resident

PAGE = os.sysconf("SC_PAGESIZE")


def test_a_model_that_is_mapped_twice_counts_once(tmp_path: Path) -> None:
    statm, mappings = tmp_path / "statm", [1]
    statm.write_text("90000 20000 5000 1 0 7000 0\n")
    resident = Resident(lambda: mappings[0], statm)
    assert resident.bytes() == 20_000 * PAGE
    statm.write_text("90000 85000 65000 1 0 7000 0\n")  # 60,000 pages of a model, 20,000 of our own
    assert resident.bytes() == 85_000 * PAGE
    statm.write_text("90000 148000 125000 1 0 7000 0\n")  # the same pages a second time
    mappings[0] = 2
    assert resident.bytes() == 88_000 * PAGE


def test_what_the_kernel_says_is_what_a_worker_says(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(os.urandom(32 << 20))
    mappings = [1]
    resident = Resident(lambda: mappings[0])
    with path.open("rb") as f:
        once, twice = (mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) for _ in range(2))
        assert sum(once[::PAGE]) > 0
        first = resident.bytes()
        assert abs(first - psutil.Process().memory_info().rss) < 8 << 20
        assert sum(twice[::PAGE]) > 0
        mappings[0] = 2
        assert abs(resident.bytes() - first) < 8 << 20
        once.close()
        twice.close()
