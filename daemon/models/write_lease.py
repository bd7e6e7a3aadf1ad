"""Checks whether a file is open for writing, by a read lease that is taken and given back at once.

Holds for any process, other mounts of the same file system and shared writable mappings included. A program that opens
the file for writing in that moment waits until the lease is back. The kernel then sends a signal. It is redirected to
SIGURG, which does nothing by default; plain SIGIO would end the process.
"""

from __future__ import annotations

import fcntl
import os
import signal
import stat
from typing import Final

_PATH: Final = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC


def open_for_writing(path: str, *, dir_fd: int | None = None) -> bool | None:
    """True: it is open for writing. False: it is not. None: unknown.

    It is unknown for files of other users without CAP_LEASE, and on most network file systems. Raises
    FileNotFoundError.
    """
    try:
        fd = _open_regular(path, dir_fd)
    except FileNotFoundError:
        raise
    except OSError:
        return None
    try:
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        return False
    except BlockingIOError:
        return True
    except OSError:
        return None
    finally:
        os.close(fd)


def _open_regular(path: str, dir_fd: int | None) -> int:
    """A descriptor to read from. Raises OSError for anything but a regular file, without opening it: to open a pipe or
    a device can have effects of its own."""
    found = os.open(path, _PATH, dir_fd=dir_fd)
    try:
        if not stat.S_ISREG(os.fstat(found).st_mode):
            raise OSError(f"{path} is no regular file")
        return os.open(f"/proc/self/fd/{found}", _FILE)
    finally:
        os.close(found)
