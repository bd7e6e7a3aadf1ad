"""Reads how much of a disk is free, and how much of it must stay free (`disk.min_free`).

It decides nothing: the caller refuses, waits or sweeps. It blocks; for a command or a thread. Invariant: free is what a
process without privileges may use.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ..units import size

Reserve = Callable[[int], int]
"""What must stay free on a file system of so many bytes."""


class DiskRoom(NamedTuple):
    """As a text it is the end of a refusal."""

    free_bytes: int
    reserve_bytes: int

    @property
    def bytes(self) -> int:
        """What may still be written; below zero when too little is free already."""
        return self.free_bytes - self.reserve_bytes

    def __str__(self) -> str:
        return f"{size(self.free_bytes)} free, {size(self.reserve_bytes)} must stay free (disk.min_free)"


def disk_room(place: int | Path, reserve: Reserve) -> DiskRoom:
    """The room on the disk of a path or a descriptor. Raises OSError."""
    found = os.statvfs(place)
    return DiskRoom(found.f_bavail * found.f_frsize, reserve(found.f_blocks * found.f_frsize))
