"""Says how many slots the workers share: the size of a file that they lock bytes of (see `worker/board.py`).

Looks at every round, so that a file that was removed, or another number of workers, is made good. Must not lock
anything: workers share on whatever becomes of the daemon.
"""

from __future__ import annotations

import os
from pathlib import Path

import structlog

NAME = "slots"


def keep(runtime_dir: Path, count: int) -> None:
    """Makes the file as large as there are to be slots. Where it can't be had, each worker works for itself."""
    try:
        fd = os.open(runtime_dir / NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
        try:
            if os.fstat(fd).st_size != count:
                os.ftruncate(fd, count)
        finally:
            os.close(fd)
    except OSError as e:
        because = e.strerror or str(e)
        structlog.get_logger("slots").warning("cannot say how many slots the workers share", because=because)
