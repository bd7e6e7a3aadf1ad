"""A sweep against `find -delete` and systemd-tmpfiles on the same files: see sweep_bench, whose figures these are."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from tests.bench import sweep_bench
from tests.bench.plan import Plan

FILES, ROUNDS = 200_000, 3


def measure(plan: Plan) -> dict[str, Any]:
    """sweep_bench's figures, on a tmpfs so that the disk has no say."""
    where = Path(tempfile.mkdtemp(prefix="modelward-bench-", dir="/dev/shm"))
    try:
        if plan.quick:
            return sweep_bench.measure(where, FILES // 100, 1, FILES // 10)
        return sweep_bench.measure(where, FILES, ROUNDS)
    finally:
        shutil.rmtree(where, ignore_errors=True)
