"""Allows one daemon at a time, by a lock that ends with the process, however it ends.

It locks a file in the directory, and the directory itself, which needs no disk space. Where other users can open the
directory, that is locked only when there is no file, because those users could keep the daemon out. No child inherits
the lock (every child is exec'd), so workers that outlive the daemon never keep its successor out.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import ModelwardError

_NO_WRITING = (errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM)


@contextmanager
def alone(directory: Path, *, required: bool = True) -> Iterator[None]:
    """Holds the lock of a directory. Raises ModelwardError when another daemon holds it, or it cannot be taken.

    If it is not `required`, a directory that does not exist and cannot be created is skipped.
    """
    path = directory / "daemon.lock"
    held: list[int] = []
    try:
        try:
            held = _open(directory, path)
        except OSError as e:
            if required or directory.exists() or e.errno not in _NO_WRITING:
                raise ModelwardError(f"cannot start: {path}: {e.strerror}") from e
        for fd in held:
            _lock(fd, directory, path)
        yield
    finally:
        for fd in held:
            os.close(fd)


def _open(directory: Path, path: Path) -> list[int]:
    """What is to be locked; the file may be missing where nothing can be written."""
    directory.mkdir(mode=0o750, parents=True, exist_ok=True)
    place = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        file = _open_file(path)
    except OSError:
        os.close(place)
        raise
    if file is None:
        return [place]
    if os.fstat(place).st_mode & stat.S_IRWXO:
        os.close(place)
        return [file]
    return [place, file]


def _open_file(path: Path) -> int | None:
    """The lock file, created if needed; None when it does not exist and nothing can be written. Raises OSError."""
    always = os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | always, 0o600)
    except OSError as e:
        if e.errno not in _NO_WRITING:
            raise
    try:
        return os.open(path, os.O_RDONLY | always)  # which is enough for a lock
    except FileNotFoundError:
        return None


def _lock(fd: int, directory: Path, path: Path) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as e:
        raise ModelwardError(f"cannot start: another daemon runs in {directory}") from e
    except OSError as e:
        raise ModelwardError(f"cannot start: {path} can't be locked: {e.strerror}") from e
