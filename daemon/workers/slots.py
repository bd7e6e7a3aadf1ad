"""Says how many slots the workers share: the size of files that they lock bytes of (see `worker/board.py`).

Looks at every round, so that a file that was removed, or another number of workers, is made good. Must not lock
anything: workers share on whatever becomes of the daemon.
"""

from __future__ import annotations

import os
from pathlib import Path

import structlog

from ...worker.protocol import SLOT_FILES


def keep(directory: Path, count: int) -> None:
    """Makes the files as large as there are to be slots. Where they can't be had, each worker works for itself."""
    try:
        directory.mkdir(mode=0o750, exist_ok=True)
        for name in SLOT_FILES:
            _keep(directory / name, count)
    except OSError as e:
        because = e.strerror or str(e)
        structlog.get_logger("slots").warning("cannot say how many slots the workers share", because=because)


def _keep(path: Path, count: int) -> None:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    try:
        if os.fstat(fd).st_size != count:
            os.ftruncate(fd, count)
    finally:
        os.close(fd)
