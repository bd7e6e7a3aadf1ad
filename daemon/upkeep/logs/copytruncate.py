"""Copies a log aside and truncates it: the way that loses lines, where the operator allowed it.

For file systems that cannot collapse, and for programs that do not append. Such a program continues at its old offset,
so what was cut stays as a hole. The next copy leaves holes out. The disk holds no more than what was written since.
Lost is what was written between the end of the copy and the truncation: a few milliseconds' worth; a line may be cut.
"""

from __future__ import annotations

import errno
import os
import threading
from typing import Final

from ...units import size
from ..fs_port import FileSystemPort, write_whole
from . import compress
from .collapse import CHUNK_BYTES, Collapsed, NotCollapsible, copy_aside
from .rotation_policy import HEAD

MOST_PIECES: Final = 10_000
_LIVE: Final = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


def truncate_after_copy(
    dir_fd: int, name: str, archive: str, files: FileSystemPort, stop: threading.Event
) -> Collapsed:
    """Copies everything that the file holds, then truncates at once. Raises Spared, OSError."""
    fd = files.open(name, _LIVE, dir_fd=dir_fd)
    try:
        found = files.fstat(fd)
        pieces = data_pieces(fd, found.st_size, files)
        together = sum(end - start for start, end in pieces)
        if found.st_size and not together:
            raise NotCollapsible(f"it has holes: of {size(found.st_size)} it holds 0B")
        if together > compress.MAX_BYTES:
            raise NotCollapsible(f"it has {size(together)}, at most {size(compress.MAX_BYTES)} are read")
        copy_aside(fd, pieces, dir_fd, archive, found, files, stop)
        out = files.open(archive + HEAD, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)
        try:
            offset = found.st_size
            while chunk := files.pread(fd, CHUNK_BYTES, offset):
                write_whole(files, out, chunk)
                offset += len(chunk)
            files.ftruncate(fd, 0)
            files.fsync(out)
        finally:
            files.close(out)
        files.rename_noreplace(archive + HEAD, archive, source_dir=dir_fd, target_dir=dir_fd)
        files.fsync(dir_fd)
    finally:
        files.close(fd)
    return Collapsed(archive, together + offset - found.st_size, offset)


def data_pieces(fd: int, size_bytes: int, files: FileSystemPort) -> list[tuple[int, int]]:
    """From where to where the file holds something: without holes, and without the zeros that fill a block up."""
    pieces: list[tuple[int, int]] = []
    offset = 0
    while offset < size_bytes:
        try:
            start = os.lseek(fd, offset, os.SEEK_DATA)
        except OSError as e:
            if e.errno == errno.ENXIO:  # nothing but a hole follows
                break
            raise
        if len(pieces) == MOST_PIECES:
            raise NotCollapsible(f"it has more than {MOST_PIECES} holes")
        offset = min(size_bytes, os.lseek(fd, start, os.SEEK_HOLE))
        head = files.pread(fd, min(CHUNK_BYTES, offset - start), start)
        pieces.append((start + len(head) - len(head.lstrip(b"\0")), offset))
    return pieces
