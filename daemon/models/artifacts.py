"""Checks whether the private copy of an accepted version is complete, by its own description.

It checks names and sizes, never contents: a check costs a few stat calls, on a thread. An operator who needs disk space
may empty a cache, so the check is repeated; a lost copy is made again from the version's files.
"""

from __future__ import annotations

import json
import os
import stat
from typing import Final

MAX_DESCRIPTION_BYTES: Final = 16 << 20
DESCRIPTION: Final = "artifact.json"


def is_whole(directory: str) -> bool:
    """True when every file that its description lists exists in full size."""
    try:
        with open(os.path.join(directory, DESCRIPTION), "rb") as file:
            size = min(os.fstat(file.fileno()).st_size, MAX_DESCRIPTION_BYTES)
            described = json.loads(file.read(size))
        files = described["files"].items()
        return bool(files) and all(_is_there(os.path.join(directory, name), entry["bytes"]) for name, entry in files)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False


def _is_there(path: str, size: int) -> bool:
    status = os.lstat(path)
    return stat.S_ISREG(status.st_mode) and status.st_size == size
