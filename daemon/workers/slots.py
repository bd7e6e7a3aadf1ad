"""Says how many slots the workers share: the size of files that they lock bytes of (see `worker/board.py`).

Looks at every round, so that a file that was removed, or another number of workers, is made good. Sees how many slots
are in use. Must not lock anything: workers share on whatever becomes of the daemon.
"""

from __future__ import annotations

import fcntl
import os
import struct
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog

from ...worker.protocol import SLOT_FILES

SHORT, _, LONG = SLOT_FILES
MOST_SLOTS: Final = 256
"""As the workers' own limit."""
_FLOCK: Final = struct.Struct("hhqqi4x")
"""struct flock on 64-bit Linux: l_type, l_whence, l_start, l_len, l_pid."""


def in_use(directory: Path) -> tuple[int, int]:
    """(runs of the model now, slots for short clips); (0, 0) where workers share none.

    A few system calls, none waits.
    """
    with suppress(OSError):
        found = [_in_use(directory / name) for name in (SHORT, LONG)]
        return sum(used for used, _ in found), found[0][1]
    return 0, 0


def _in_use(path: Path) -> tuple[int, int]:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        count = os.fstat(fd).st_size
        return sum(_is_locked(fd, slot) for slot in range(min(count, MOST_SLOTS))), count
    finally:
        os.close(fd)


def _is_locked(fd: int, byte: int) -> bool:
    asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, byte, 1, 0)
    return bool(_FLOCK.unpack(fcntl.fcntl(fd, fcntl.F_OFD_GETLK, asked))[0] != fcntl.F_UNLCK)


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
