"""The file calls that upkeep makes, in one place, so that a test can make the n-th call fail.

A plain table of functions. The defaults are the operating system's own. It adds nothing and decides nothing.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from typing import Any, Final

from msgspec import Struct

from . import syscalls

KIND: Final = 0o170000  # S_IFMT: the bits of st_mode for the kind of the file


class FileSystemPort(Struct, frozen=True):
    """Every call raises OSError as the function behind it does."""

    open: Callable[..., int] = os.open
    close: Callable[[int], None] = os.close
    read: Callable[[int, int], bytes] = os.read
    write: Callable[[int, bytes], int] = os.write
    pread: Callable[[int, int, int], bytes] = os.pread
    pwrite: Callable[[int, bytes, int], int] = os.pwrite
    fsync: Callable[[int], None] = os.fsync
    fstat: Callable[[int], os.stat_result] = os.fstat
    stat: Callable[..., os.stat_result] = os.stat
    statvfs: Callable[..., os.statvfs_result] = os.statvfs
    scandir: Callable[[int], Any] = os.scandir
    unlink: Callable[..., None] = os.unlink
    rmdir: Callable[..., None] = os.rmdir
    mkdir: Callable[..., None] = os.mkdir
    utime: Callable[..., None] = os.utime
    ftruncate: Callable[[int, int], None] = os.ftruncate
    control: Callable[..., Any] = fcntl.fcntl
    flock: Callable[[int, int], None] = fcntl.flock
    open_directory: Callable[..., int] = syscalls.open_directory
    rename_noreplace: Callable[..., None] = syscalls.rename_noreplace
    collapse_head: Callable[[int, int], None] = syscalls.collapse_head


def write_whole(files: FileSystemPort, fd: int, data: bytes) -> None:
    """Writes all of `data`, in as many calls as needed."""
    view = memoryview(data)
    while view:
        view = view[files.write(fd, view) :]  # type: ignore[arg-type]
