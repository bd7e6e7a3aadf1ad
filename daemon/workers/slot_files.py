"""Sets how many slots the workers share: the size of files whose bytes they lock (`worker/scheduling/slot_file.py`).

It checks them in every round, so that a removed file or another number of workers is corrected. It also counts the
slots in use. It must not lock anything: workers share slots whether the daemon runs or not. `kept` and `keep` are for a
thread.
"""

from __future__ import annotations

import fcntl
import os
import stat
import struct
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog

from ...worker.protocol import SLOT_FILES

SHORT, _, LONG = SLOT_FILES
MOST_SLOTS: Final = 256
"""The same limit as in the workers."""
_FLOCK: Final = struct.Struct("hhqqi4x")
"""struct flock on 64-bit Linux: l_type, l_whence, l_start, l_len, l_pid."""


class InUse:
    """The files in `directory`, held open. Belongs to one task, which calls nothing else while a thread runs `refresh`
    of it.
    """

    def __init__(self, directory: Path) -> None:
        self._paths = [directory / name for name in (SHORT, LONG)]
        self._fds: list[int] = []
        self._over = False

    def refresh(self) -> None:
        """Opens the files that have the names now. Not for an event loop."""
        self._let_go()
        with suppress(OSError):
            for path in self._paths:
                self._fds.append(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK))
        if self._over:
            self._let_go()

    def close(self) -> None:
        """Closes the files for good, also while a thread still runs `refresh`."""
        self._over = True
        self._let_go()

    def _let_go(self) -> None:
        with suppress(IndexError):
            while True:
                os.close(self._fds.pop())

    def now(self) -> tuple[int, int]:
        """(model runs now, slots for short clips); (0, 0) where workers share none.

        Locks are in memory: a few system calls, none of them waits.
        """
        if len(self._fds) < len(self._paths):
            return 0, 0
        found = [_in_use(fd) for fd in self._fds]
        return sum(used for used, _ in found), found[0][1]


def _in_use(fd: int) -> tuple[int, int]:
    count = os.fstat(fd).st_size
    return sum(_is_locked(fd, slot) for slot in range(min(count, MOST_SLOTS))), count


def _is_locked(fd: int, byte: int) -> bool:
    asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, byte, 1, 0)
    return bool(_FLOCK.unpack(fcntl.fcntl(fd, fcntl.F_OFD_GETLK, asked))[0] != fcntl.F_UNLCK)


def kept(directory: Path) -> tuple[int, ...]:
    """How many slots each of the files has; 0 for one that cannot be read."""
    return tuple(_size(directory / name) for name in SLOT_FILES)


def _size(path: Path) -> int:
    try:
        found = os.lstat(path)
    except OSError:
        return 0
    return found.st_size if stat.S_ISREG(found.st_mode) else 0


def keep(directory: Path, count: int) -> None:
    """Gives the files the size of the wanted slots. Where that fails, each worker works for itself."""
    try:
        directory.mkdir(mode=0o750, exist_ok=True)
        for name in SLOT_FILES:
            _keep(directory / name, count)
    except OSError as e:
        because = e.strerror or str(e)
        structlog.get_logger("slots").warning("cannot set how many slots the workers share", because=because)


def _keep(path: Path, count: int) -> None:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    try:
        if os.fstat(fd).st_size != count:
            os.ftruncate(fd, count)
    finally:
        os.close(fd)
