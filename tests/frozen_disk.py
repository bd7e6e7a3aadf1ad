"""A disk that does not answer: a file system of its own that can be frozen, so that whoever writes to it hangs.

ext4 on a loop device, for root alone. Whatever the block does, it is thawed and unmounted at its end.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class FreezingDisk:
    """The disk at `place`."""

    place: Path

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """What is written within the block waits for its end."""
        subprocess.run(["fsfreeze", "--freeze", str(self.place)], check=True)
        try:
            yield
        finally:
            subprocess.run(["fsfreeze", "--unfreeze", str(self.place)], check=True)


@contextlib.contextmanager
def freezing_disk(directory: Path) -> Iterator[FreezingDisk]:
    """A new disk, mounted below `directory`. Skips where that can't be had."""
    if os.geteuid() != 0 or not all(map(shutil.which, ("mkfs.ext4", "mount", "fsfreeze"))):
        pytest.skip("needs root, mkfs.ext4 and fsfreeze for a disk that freezes")
    image, place = directory / "image", directory / "disk"
    place.mkdir(parents=True)
    with image.open("wb") as file:
        file.truncate(16 << 20)
    subprocess.run(["mkfs.ext4", "-q", str(image)], check=True)
    mounted = subprocess.run(["mount", "-o", "loop", str(image), str(place)], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"cannot mount here: {mounted.stderr.strip()}")
    try:
        yield FreezingDisk(place)
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)
