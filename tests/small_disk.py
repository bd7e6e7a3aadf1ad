"""Small file systems, for one script or for a daemon that a test starts again and again.

A tmpfs in a mount namespace of its own, for root alone.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
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


@dataclass(frozen=True)
class SmallDisk:
    """A small disk at `place`, seen by what is started with `prefix`; `holder` is a process that keeps it."""

    place: Path
    holder: int

    @property
    def prefix(self) -> tuple[str, ...]:
        """Before a command line: the program sees the disk, and keeps its process id."""
        return ("nsenter", f"--mount=/proc/{self.holder}/ns/mnt", "--")

    def inside(self, name: str) -> Path:
        """A file of the disk, for the test itself."""
        return Path(f"/proc/{self.holder}/root{self.place}/{name}")

    def remount(self, options: str) -> None:
        """Mounts it anew with other options."""
        subprocess.run([*self.prefix, "mount", "-o", f"remount,{options}", str(self.place)], check=True)

    def fill(self, name: str = "ballast") -> Path:
        """The file that takes all the space that is left."""
        path = self.inside(name)
        with open(path, "ab", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
        return path


@contextlib.contextmanager
def small_disk(place: Path, *, options: str = "size=2m") -> Iterator[SmallDisk]:
    """A small disk at `place` for as long as the block runs. Skips where that can't be."""
    if os.geteuid() != 0:
        pytest.skip("needs root to mount a small disk")
    place.mkdir(parents=True, exist_ok=True)
    hold = 'mount -t tmpfs -o "$1" tmpfs "$2" && echo mounted && exec cat'
    holder = subprocess.Popen(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", hold, "sh", f"{options},mode=750", str(place)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    assert holder.stderr is not None
    with holder.stdin, holder.stdout, holder.stderr:
        if holder.stdout.readline() != "mounted\n":
            holder.wait()
            pytest.skip(f"cannot mount here: {holder.stderr.read().strip()}")
        try:
            yield SmallDisk(place, holder.pid)
        finally:
            holder.kill()
            holder.wait()
