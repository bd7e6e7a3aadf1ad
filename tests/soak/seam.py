"""The wall clock as the house's processes see it: the machine's, moved by an offset that the soak sets.

The machine's own clock is not ours to step, and no namespace covers it. So each Python process of the house imports a
`sitecustomize` that adds the offset wherever Python reads the wall clock. The kernel's file times stay true: to the
house they are then a day old, or from tomorrow, which is harder than what a true step does.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path

_SITE = """
import datetime, mmap, os, struct, time

with open(os.path.join(os.path.dirname(__file__), "offset"), "rb") as f:
    shared = mmap.mmap(f.fileno(), 8, prot=mmap.PROT_READ)

def offset():
    return struct.unpack("d", shared[:8])[0]

true, true_ns = time.time, time.time_ns
time.time = lambda: true() + offset()
time.time_ns = lambda: true_ns() + int(offset() * 1e9)

class Moved(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(time.time(), tz)

datetime.datetime = Moved
"""


class Seam:
    """The offset, in a directory that processes look for modules in before all others."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir()
        (directory / "sitecustomize.py").write_text(_SITE, encoding="utf-8")
        (directory / "offset").write_bytes(struct.pack("d", 0.0))

    def set(self, seconds: float) -> None:
        """From now on the house's clock is this far ahead of the true time."""
        fd = os.open(self.directory / "offset", os.O_WRONLY)
        try:
            os.pwrite(fd, struct.pack("d", seconds), 0)
        finally:
            os.close(fd)
