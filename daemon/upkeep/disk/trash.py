"""Removes whole directories: first it renames them into the root's `.trash`, then it empties the trash.

The rename is the deletion. A reader sees a whole version or nothing, and after a crash the version is whole in one of
two places. Emptying flattens nested directories, so that two descriptors are enough at any depth. The trash is a
directory of ours that no other user may enter. Anything else with that name is refused.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable
from typing import Final

from msgspec import Struct

from ..fs_port import FileSystemPort
from .remover import Remover
from .walk import TRASH

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Emptied(Struct, frozen=True):
    """The result of one pass over the trash."""

    files: int = 0
    bytes: int = 0
    failed: int = 0
    left: int = 0


def open_trash(root_fd: int, files: FileSystemPort, *, create: bool) -> int | None:
    """The descriptor of the trash; None when there is none and it must not be created.

    Raises OSError when it cannot be created or is not a private directory of ours.
    """
    if create:
        with contextlib.suppress(FileExistsError):
            files.mkdir(TRASH, 0o700, dir_fd=root_fd)
    try:
        fd = files.open(TRASH, _DIRECTORY, dir_fd=root_fd)
    except FileNotFoundError:
        return None
    found = files.fstat(fd)
    if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
        files.close(fd)
        raise PermissionError(f"{TRASH} is not a directory that only we may enter")
    return fd


def throw_away(
    root_fd: int, name: str, files: FileSystemPort, *, stamp_ns: int, check: Callable[[], None] = lambda: None
) -> str:
    """Renames `name` into the trash, never over another entry. Returns its name there. Raises OSError.

    `check` is called directly before the rename, and raises to prevent it.
    """
    trash_fd = open_trash(root_fd, files, create=True)
    if trash_fd is None:
        raise FileNotFoundError(TRASH)
    try:
        target = f"{name[:200]}.{stamp_ns}"
        check()
        files.rename_noreplace(name, target, source_dir=root_fd, target_dir=trash_fd)
        files.fsync(root_fd)
    finally:
        files.close(trash_fd)
    return target


def empty(root_fd: int, remover: Remover) -> Emptied:
    """Deletes the contents of the trash within the remover's budget. Raises OSError when the trash cannot be opened."""
    files = remover.files
    trash_fd = open_trash(root_fd, files, create=False)
    if trash_fd is None or remover.dry_run:
        if trash_fd is not None:
            files.close(trash_fd)
        return Emptied()
    try:
        return _empty(trash_fd, os.fstat(trash_fd), remover)
    finally:
        files.close(trash_fd)


def _empty(trash_fd: int, trash: os.stat_result, remover: Remover) -> Emptied:
    files = remover.files
    with files.scandir(trash_fd) as entries:
        names = [entry.name for entry in entries]
    counters = [0, 0, 0]  # files, bytes, failed
    serial = 0
    while names and remover.may_go_on():
        name = names.pop()
        try:
            found = files.stat(name, dir_fd=trash_fd, follow_symlinks=False)
            if not stat.S_ISDIR(found.st_mode):
                files.unlink(name, dir_fd=trash_fd)
                _count(counters, remover, found)
                continue
            if found.st_dev != trash.st_dev:
                counters[2] += 1
                continue
            serial, raised, done = _flatten(trash_fd, name, remover, counters, serial)
            names += raised
            if done:
                files.rmdir(name, dir_fd=trash_fd)
            elif not remover.exhausted:
                counters[2] += 1
        except OSError:
            counters[2] += 1
    with files.scandir(trash_fd) as entries:
        left = sum(1 for _ in entries)
    return Emptied(counters[0], counters[1], counters[2], left)


def _flatten(
    trash_fd: int, name: str, remover: Remover, counters: list[int], serial: int
) -> tuple[int, list[str], bool]:
    """Unlinks the files in one directory of the trash and moves its sub-directories to the top."""
    files = remover.files
    raised: list[str] = []
    whole = True
    fd = files.open_directory(name, dir_fd=trash_fd)
    try:
        with files.scandir(fd) as entries:
            for entry in entries:
                if not remover.may_go_on():
                    return serial, raised, False
                try:
                    found = entry.stat(follow_symlinks=False)
                    if entry.is_dir(follow_symlinks=False):
                        serial += 1
                        target = f"{serial}.{found.st_ino}.{os.getpid()}"
                        files.rename_noreplace(entry.name, target, source_dir=fd, target_dir=trash_fd)
                        raised.append(target)
                    else:
                        files.unlink(entry.name, dir_fd=fd)
                        _count(counters, remover, found)
                except OSError:
                    counters[2] += 1
                    whole = False
    finally:
        files.close(fd)
    return serial, raised, whole


def _count(counters: list[int], remover: Remover, found: os.stat_result) -> None:
    used = found.st_blocks * 512 if found.st_nlink <= 1 else 0
    counters[0] += 1
    counters[1] += used
    remover.count(1, used)
