"""A file system of a few hundred kilobytes for one script: a tmpfs in a mount namespace of its own, for root alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support import PATIENCE_SECONDS, modules

_MOUNT = 'mount -t tmpfs -o "size=$1" tmpfs "$2" || exit 77; shift 2; exec "$@"'


def run_on_small_disk(place: Path, code: str, *, size: str = "512k", seconds: float = PATIENCE_SECONDS) -> str:
    """Runs Python `code` with `place` (its first argument) on the small disk; its output. Skips where that can't be."""
    if os.geteuid() != 0:
        pytest.skip("needs root to mount a small disk")
    private = ["unshare", "--mount", "--propagation", "private", "sh", "-c", _MOUNT, "sh", size, str(place)]
    done = subprocess.run(
        [*private, sys.executable, "-c", code, str(place)],
        env={**os.environ, "PYTHONPATH": modules()},
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    if done.returncode == 77 or "unshare failed" in done.stderr or "Operation not permitted" in done.stderr:
        pytest.skip(f"cannot mount here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    return done.stdout
