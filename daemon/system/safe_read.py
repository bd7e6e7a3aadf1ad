"""Opens files whose names come from outside: without waiting, and only when they are regular files.

Small files of the kernel are read without a file object, because that happens many times a minute.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from io import BufferedReader
from pathlib import Path
from typing import Final

from ...worker.shared.file_kinds import kind_of

MAX_KERNEL_BYTES: Final = 64 * 1024
Opener = Callable[[str, int], int]


def open_regular(path: str | Path, opener: Opener = os.open) -> BufferedReader:
    """A regular file, open for reading. Raises OSError for everything else; `strerror` gives the reason.

    `safe_paths.open_file` as `opener` follows no link that another user can change.
    """
    descriptor = _opened(path, os.O_NONBLOCK, opener)  # opening a FIFO must not wait for a writer
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, f"{kind_of(mode)}, not a regular file")
    return open(descriptor, "rb")


def kernel_text(path: str | Path, most_bytes: int = MAX_KERNEL_BYTES) -> str:
    """The text of a file in /proc or /sys, at most `most_bytes`; bytes that are not ASCII are replaced. Raises
    OSError.
    """
    return kernel_bytes(path, most_bytes).decode("ascii", "replace")


def kernel_bytes(path: str | Path, most_bytes: int = MAX_KERNEL_BYTES) -> bytes:
    """The bytes of such a file. Raises OSError."""
    fd, parts = _opened(path), []
    try:
        while most_bytes > 0 and (part := os.read(fd, min(most_bytes, MAX_KERNEL_BYTES))):
            parts.append(part)
            most_bytes -= len(part)
    finally:
        os.close(fd)
    return b"".join(parts)


def _opened(path: str | Path, flags: int = 0, opener: Opener = os.open) -> int:
    """A descriptor for reading. Raises OSError, also for a name with a NUL, which no file has."""
    try:
        return opener(str(path), os.O_RDONLY | os.O_CLOEXEC | flags)
    except ValueError as e:
        raise OSError(errno.EINVAL, str(e)) from e
