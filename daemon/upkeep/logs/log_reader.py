"""Reads one log file forward, in whole lines: a plain file that may still grow, or an archive, compressed or not.

Opens regular files of one name, through no link that another user can change. Holds at most MAX_LINE_BYTES of an
unfinished line, and one read gives no more bytes than it was allowed. Blank lines and marks of collapses are left out.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from ...system.safe_paths import open_file
from . import collapse_marker
from .compress import open_packed, unreadable

MAX_LINE_BYTES: Final = 1 << 20
CHUNK_BYTES: Final = 64 * 1024
READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class OpenedLog(NamedTuple):
    """A descriptor, and what the system knows of the file."""

    fd: int
    found: os.stat_result

    @property
    def identity(self) -> tuple[int, int]:
        return self.found.st_dev, self.found.st_ino


def opened(path: str, dir_fd: int | None = None, *, fstat: Callable[[int], os.stat_result] = os.fstat) -> OpenedLog:
    """Opens a log to read it. Raises OSError for anything but a regular file with one name, and then it is closed."""
    fd = open_file(path, READ) if dir_fd is None else os.open(path, READ, dir_fd=dir_fd)
    try:
        found = fstat(fd)  # fails with ESTALE where a server of files lost it
        if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
            raise OSError(errno.EPERM, "it is not a regular file with one name", path)
    except OSError:
        os.close(fd)
        raise
    return OpenedLog(fd, found)


def start_of_tail(fd: int, end: int, lines: int, look_back_bytes: int) -> int:
    """The offset from which at least `lines` whole lines follow before `end`, or so many bytes back."""
    floor = max(0, end - look_back_bytes)
    offset, found = end, 0
    while offset > floor:
        start = max(floor, offset - CHUNK_BYTES)
        found += os.pread(fd, offset - start, start).count(b"\n")
        offset = start
        if found > lines + 1:
            break
    return offset


def mark_of(fd: int) -> tuple[int, int] | None:
    """The mark of the last collapse at the head of a file; None without one."""
    return collapse_marker.read_mark(os.pread(fd, collapse_marker.LENGTH, 0))


def start_of_lines(fd: int) -> int:
    """The offset of the first line: behind the mark of a collapse, or behind the hole that a truncation left."""
    found = os.fstat(fd)
    if mark_of(fd) is not None:
        offset = collapse_marker.LENGTH
        while chunk := os.pread(fd, CHUNK_BYTES, offset):
            if (end := chunk.find(b"\n")) >= 0:
                return offset + end + 1
            offset += len(chunk)
    elif found.st_blocks * 512 < found.st_size:
        try:
            return os.lseek(fd, 0, os.SEEK_DATA)
        except OSError:  # nothing but a hole
            return found.st_size
    return 0


def _end_of_zeros(fd: int, offset: int, read_bytes: int) -> int:
    """Where to go on behind zeros that were read: behind the whole hole, where they are one."""
    try:
        return max(offset + read_bytes, os.lseek(fd, offset, os.SEEK_DATA))
    except OSError:  # nothing but a hole follows
        return max(offset + read_bytes, os.fstat(fd).st_size)


class LineSplitter:
    """Whole lines of the bytes that it is given; `held` is the beginning of the next one."""

    def __init__(self, held: bytes = b"") -> None:
        self.held = held

    def split(self, chunk: bytes) -> list[bytes]:
        *lines, self.held = (self.held + chunk).split(b"\n")
        if len(self.held) > MAX_LINE_BYTES:
            lines.append(self.held)
            self.held = b""
        lines = [line.lstrip(b"\0") for line in lines]  # what fills up the block behind a hole
        return [line for line in lines if line and collapse_marker.read_mark(line) is None]

    def rest(self) -> list[bytes]:
        """What is left when nothing more comes."""
        held, self.held = self.held, b""
        return [held] if held else []


class PlainLog:
    """A file by its descriptor, which it takes over. `offset` is where it reads next.

    `data_bytes` are those read, as a copy of the file has them: without holes and the zeros behind them.
    """

    def __init__(self, fd: int, offset: int = 0) -> None:
        self.fd, self.offset = fd, offset
        self.lines = LineSplitter()
        self.data_bytes, self._behind_hole = 0, True

    def go_to(self, offset: int, data_bytes: int) -> None:
        """Reads on from here; so many bytes of data come before."""
        self.offset, self.data_bytes, self._behind_hole = offset, data_bytes, data_bytes == 0

    @property
    def identity(self) -> tuple[int, int]:
        found = os.fstat(self.fd)
        return found.st_dev, found.st_ino

    def read(self, most_bytes: int, *, mark: tuple[int, int] | None = None, checked: bool = False) -> list[bytes]:
        """Lines of at most so many bytes. With `checked` it ends before bytes that moved because `mark` is old."""
        found: list[bytes] = []
        while most_bytes > 0 and (chunk := os.pread(self.fd, min(CHUNK_BYTES, most_bytes), self.offset)):
            if checked and mark_of(self.fd) != mark:
                break
            self._count(chunk)
            if chunk[0] == 0 and not chunk.strip(b"\0"):
                self.offset = _end_of_zeros(self.fd, self.offset, len(chunk))
                continue
            self.offset += len(chunk)
            most_bytes -= len(chunk)
            found += self.lines.split(chunk)
        return found

    def _count(self, chunk: bytes) -> None:
        """Adds the data of a chunk that was read at `offset`."""
        if not self._behind_hole and b"\0" not in chunk:
            self.data_bytes += len(chunk)
            return
        here, end = self.offset, self.offset + len(chunk)
        while here < end:
            try:
                start = min(end, os.lseek(self.fd, here, os.SEEK_DATA))
                hole = min(end, os.lseek(self.fd, start, os.SEEK_HOLE))
            except OSError:  # nothing but a hole follows, or the file was cut
                start = hole = end
            piece = chunk[start - self.offset : hole - self.offset]
            self._behind_hole |= start > here
            if self._behind_hole:
                piece = piece.lstrip(b"\0")
                self._behind_hole = not piece
            self.data_bytes += len(piece)
            here = max(hole, here + 1)  # a file that is cut meanwhile has its hole here

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class PackedLog:
    """An archive that no process writes to any more. `over` once it was read to its end.

    One that is damaged ends where the damage begins; `because` then gives the reason.
    """

    def __init__(self, fd: int, path: str, skip_bytes: int = 0) -> None:
        """Takes the descriptor over; the path's ending gives the form. Raises OSError for one that cannot be read."""
        self.path = path
        self._reader: Any = open_packed(fd, path)
        self.lines, self.over, self.because = LineSplitter(), False, ""
        while skip_bytes > 0 and (chunk := self._chunk(min(CHUNK_BYTES, skip_bytes))):
            skip_bytes -= len(chunk)

    def read(self, most_bytes: int) -> list[bytes]:
        """Lines of at most so many bytes."""
        found: list[bytes] = []
        while most_bytes > 0 and not self.over:
            chunk = self._chunk(min(CHUNK_BYTES, most_bytes))
            most_bytes -= len(chunk)
            found += self.lines.split(chunk) if chunk else self.lines.rest()
        return found

    def _chunk(self, count: int) -> bytes:
        chunk = b""
        try:
            chunk = self._reader.read(count)
        except unreadable() as e:
            self.because = str(e)
        self.over = not chunk
        return chunk

    def close(self) -> None:
        self._reader.close()
