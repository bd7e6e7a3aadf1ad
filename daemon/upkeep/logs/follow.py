"""Reads the end of a log file and follows it through every kind of rotation, each line once.

Renamed: it reads the old file to its end, and on until its writers have left it. Then it reads the new file from its
beginning. Collapsed: the mark at the head gives how many bytes were taken, so it goes on at the same line. Truncated:
it reads from the beginning. It only reads. It holds at most MAX_LINE_BYTES of an unfinished line and reads POLL_BYTES
at a time. It opens only regular files with one name, through no link that another user can change.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from typing import Final

from ...system.safe_paths import open_file
from . import collapse_marker

MAX_LINE_BYTES: Final = 1 << 20
CHUNK_BYTES: Final = 64 * 1024
MAX_TAIL_LINES: Final = 100_000
LOOK_BACK_BYTES: Final = 16 << 20
POLL_BYTES: Final = 2 * LOOK_BACK_BYTES
"""The most that one poll reads; the next poll goes on from there."""
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_LINGER_LOOKS: Final = 20  # polls of a renamed file after its end, for writers that have not reopened yet


def opened(path: str, dir_fd: int | None = None) -> int:
    """A descriptor to read a log. Raises OSError for anything but a regular file with one name."""
    fd = open_file(path, _READ) if dir_fd is None else os.open(path, _READ, dir_fd=dir_fd)
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
        os.close(fd)
        raise OSError(errno.EPERM, "it is not a regular file with one name", path)
    return fd


def start_of_tail(fd: int, end: int, lines: int, look_back_bytes: int) -> int:
    """The offset from which at least `lines` whole lines follow before `end`, or as far back as the byte limit
    allows.
    """
    floor = max(0, end - look_back_bytes)
    offset, found = end, 0
    while offset > floor:
        start = max(floor, offset - CHUNK_BYTES)
        found += os.pread(fd, offset - start, start).count(b"\n")
        offset = start
        if found > lines + 1:
            break
    return offset


class Follower:
    """Follows one path. `first` holds the lines to begin with; `poll()` returns the whole lines since the last call.

    Call `poll` several times a second: of several rotations between two polls only the last file is read.
    """

    def __init__(self, path: str, *, lines: int = 0) -> None:
        """Begins `lines` lines before the end of the file; raises OSError when it cannot be read."""
        self._path, self._fd, self._offset = path, -1, 0
        self._mark: tuple[int, int] | None = None
        self._held = b""
        self._lingered = 0
        self.first: list[bytes] = []
        if self._open():
            end = os.fstat(self._fd).st_size
            self._offset = start_of_tail(self._fd, end, min(lines, MAX_TAIL_LINES), LOOK_BACK_BYTES)
            found = list(self._read())
            self.first = found[-lines:] if lines else []

    def close(self) -> None:
        """Closes the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def poll(self) -> list[bytes]:
        """New whole lines without their newlines. While the file is missing, there are none."""
        if self._fd < 0 and not self._open():
            return []
        lines = list(self._read())
        if self._renamed():
            self._lingered = 0 if lines else self._lingered + 1
            if self._lingered >= _LINGER_LOOKS:
                if self._held:
                    lines.append(self._held)
                self.close()
                self._held, self._lingered = b"", 0
                if self._open():
                    lines += self._read()
        return lines

    def _open(self) -> bool:
        try:
            self._fd = opened(self._path)
        except FileNotFoundError:
            return False
        self._offset = 0
        self._mark = self._read_mark()
        return True

    def _read_mark(self) -> tuple[int, int] | None:
        return collapse_marker.read_mark(os.pread(self._fd, collapse_marker.LENGTH, 0))

    def _renamed(self) -> bool:
        try:
            fd = opened(self._path)
            there = os.fstat(fd)
            os.close(fd)
        except OSError:
            return False
        here = os.fstat(self._fd)
        return (there.st_dev, there.st_ino) != (here.st_dev, here.st_ino)

    def _shift(self) -> None:
        """Moves the offset back when the head was removed, or to the start when the file was truncated or
        written anew.
        """
        mark, before = self._read_mark(), self._mark
        self._mark = mark
        if mark is not None and mark != before:
            self._offset = max(0, self._offset - mark[1])
        elif mark != before or os.fstat(self._fd).st_size < self._offset:
            self._offset, self._held = 0, b""

    def _read(self) -> Iterator[bytes]:
        self._shift()
        left = POLL_BYTES
        while left > 0:
            chunk = os.pread(self._fd, CHUNK_BYTES, self._offset)
            if not chunk:
                return
            before = self._mark
            if self._read_mark() != before:
                self._shift()
                continue
            self._offset += len(chunk)
            left -= len(chunk)
            *lines, self._held = (self._held + chunk).split(b"\n")
            for line in lines:
                if line and collapse_marker.read_mark(line) is None:
                    yield line
            if len(self._held) > MAX_LINE_BYTES:
                yield self._held
                self._held = b""
