"""The hidden directories in the model root in which versions lie while they are fetched or copied.

Each has the lock of the process that fills it. It removes those that no process filled for ABANDONED_SECONDS.
Invariant: a directory that is locked, that belongs to another user or that others may write is never touched.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import stat
from contextlib import suppress
from math import inf
from pathlib import Path
from typing import Final

from ..system.safe_paths import open_directory

PREFIX: Final = ".fetch-"
ABANDONED_SECONDS: Final = 7 * 86_400.0
"""A download that was cut off may be continued for so long."""
_MAX_NAME_BYTES: Final = 255
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def part_name(version: str) -> str:
    """The name of the directory in which a version is fetched."""
    name = PREFIX + version
    if len(name.encode()) <= _MAX_NAME_BYTES:
        return name
    return PREFIX + hashlib.sha256(version.encode()).hexdigest()


def open_part(root: int, name: str) -> int:
    """A descriptor of such a directory, if it is ours alone. Raises OSError, PermissionError when it is not."""
    fd = os.open(name, _DIRECTORY, dir_fd=root)
    found = os.fstat(fd)
    if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
        os.close(fd)
        raise PermissionError(f"{name} belongs to another user, or others may write it")
    return fd


def locked(root: int, name: str, fd: int) -> bool:
    """Takes the lock of the directory; False when another process has it, or when it is no longer the one of that
    name. The lock ends with `fd`.
    """
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    try:
        there, ours = os.stat(name, dir_fd=root, follow_symlinks=False), os.fstat(fd)
    except FileNotFoundError:
        return False
    return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)


def remove_left(root: Path, version: str) -> None:
    """Removes what a fetch of a version left that came into place as it ended; nothing while another one goes on."""
    with suppress(OSError):
        at = open_directory(str(root.absolute()))
        try:
            _removed(at, part_name(version), inf)
        finally:
            os.close(at)


def remove_abandoned(root: Path, now_wall: float) -> list[str]:
    """Removes the directories that no process fills and that are old; the versions they were to be. Raises OSError."""
    at = open_directory(str(root.absolute()))
    try:
        return [name.removeprefix(PREFIX) for name in os.listdir(at) if _removed(at, name, now_wall)]
    finally:
        os.close(at)


def _removed(root: int, name: str, now_wall: float) -> bool:
    if not name.startswith(PREFIX):
        return False
    with suppress(OSError):
        fd = open_part(root, name)
        try:
            if now_wall - os.fstat(fd).st_mtime > ABANDONED_SECONDS and locked(root, name, fd):
                shutil.rmtree(name, dir_fd=root)
                return True
        finally:
            os.close(fd)
    return False
