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


def open_regular(path: str | Path, opener: Callable[[str, int], int] = os.open) -> BufferedReader:
    """A regular file, open for reading. Raises OSError for everything else; `strerror` gives the reason.

    `safe_paths.open_file` as `opener` follows no link that another user can change.
    """
    try:
        # O_NONBLOCK: opening a FIFO must not wait for a writer.
        descriptor = opener(str(path), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except ValueError as e:  # a NUL in the name
        raise OSError(errno.EINVAL, str(e)) from e
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
    fd, parts = os.open(path, os.O_RDONLY | os.O_CLOEXEC), []
    try:
        while most_bytes > 0 and (part := os.read(fd, min(most_bytes, MAX_KERNEL_BYTES))):
            parts.append(part)
            most_bytes -= len(part)
    finally:
        os.close(fd)
    return b"".join(parts)
