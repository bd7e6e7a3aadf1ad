"""Runs Python in a mount namespace of its own, where a test may mount what it likes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support import PATIENCE_SECONDS

_ROOT = Path(__file__).parent.parent


def in_private_mounts(script: str, *arguments: str, seconds: float = PATIENCE_SECONDS) -> str:
    """The script's output; skips the test where no private mount namespace can be had. Fails when the script fails."""
    if shutil.which("unshare") is None:
        pytest.skip("no private mount namespace: unshare is not installed")
    probe = ["unshare", "--mount", "sh", "-c", "mount -t tmpfs -o size=1m none /mnt"]
    if subprocess.run(probe, check=False, capture_output=True).returncode:
        pytest.skip("no private mount namespace: not permitted here (needs root)")
    environment = dict(os.environ, PYTHONPATH=f"{_ROOT / '.imports'}:{_ROOT}")
    command = ["unshare", "--mount", "--propagation", "private", sys.executable, "-W", "error", "-c", script]
    done = subprocess.run(
        [*command, *arguments], check=False, capture_output=True, text=True, timeout=seconds, env=environment, cwd=_ROOT
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def over_a_file(covered: Path, by: Path) -> tuple[str, ...]:
    """What goes before a command line so that this program finds `by` in the place of a file, and nobody else does.

    Skips the test where no private mount namespace can be had.
    """
    in_private_mounts("")
    script = 'mount --bind "$0" "$1" && shift && exec "$@"'
    return ("unshare", "--mount", "--propagation", "private", "sh", "-c", script, str(by), str(covered))


def read_only(directory: Path) -> tuple[str, ...]:
    """What goes before a command line so that this program can write nothing in the directory, and everybody else can.

    Skips the test where no private mount namespace can be had.
    """
    in_private_mounts("")
    script = 'mount --bind -o ro "$0" "$0" && exec "$@"'
    return ("unshare", "--mount", "--propagation", "private", "sh", "-c", script, str(directory))
