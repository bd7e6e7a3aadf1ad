"""The file through which workers share slots: locks on its bytes, and a socket for each worker to wake it.

It decides nothing (see `fairness`). Locks of open file descriptions (fcntl(2), F_OFD_SETLK) always end with the
process, need no daemon, and never block here. The file's size is the number of slots; the daemon sets it. Byte n
locked: slot n is in use. Byte NUMBERS + n: worker number n lives. Byte ALONE + n: it runs something without a slot.
Byte LINE + mark: a worker waits in the queue there.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import stat
import struct
from collections.abc import Collection
from contextlib import suppress
from typing import Final

from .fairness import NUMBER_BITS, number_of

MOST_SLOTS: Final = 256
MOST_WAITING: Final = 1024
NUMBERS: Final = 1 << 32
ALONE: Final = 1 << 33
LINE: Final = 1 << 62
END: Final = (1 << 63) - 1
DATAGRAMS: Final = 64
# struct flock on 64-bit Linux: l_type, l_whence, l_start, l_len, l_pid (0 for these locks).
_FLOCK: Final = struct.Struct("hhqqi4x")
_HELD_BY_OTHERS: Final = {errno.EAGAIN, errno.EACCES}


class Board:
    """One worker's hold on the file at `path`, which must exist. Raises OSError, also when it cannot be used."""

    def __init__(self, path: str) -> None:
        if struct.calcsize("P") != 8:
            raise OSError(errno.ENOSYS, "locks are laid out for 64-bit systems")
        self._path = path
        self._fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        self.bell = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            if not stat.S_ISREG(os.fstat(self._fd).st_mode):
                raise OSError(errno.EINVAL, "it is not a regular file")
            self.number = self._enter()
            self._bind()
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        """Releases everything that is held."""
        os.close(self._fd)
        self.bell.close()

    def unlink(self) -> None:
        """Removes the socket's name before the socket is closed. If the file is another one now, the name is
        not ours.
        """
        with suppress(OSError):
            if os.fstat(self._fd).st_nlink:
                os.unlink(self._bell_path(self.number))

    def count(self) -> int:
        """How many slots there are; 0 when the file was removed."""
        found = os.fstat(self._fd)
        return min(MOST_SLOTS, found.st_size) if found.st_nlink else 0

    # slots

    def take(self, held: Collection[int]) -> int | None:
        """A free slot, ours from now on; None when all are in use. `held` are those that we have already."""
        count = self.count()
        if len(held) >= count:  # there were more slots when they were taken
            return None
        for slot in ((self.number + i) % count for i in range(count)):  # so that not all of them begin at the same slot
            if slot not in held and self._lock(slot):
                return slot
        return None

    def free(self, slot: int) -> None:
        """Gives a slot back."""
        self._unlock(slot)

    def has_free(self, held: Collection[int]) -> bool:
        """Whether any slot is free."""
        return any(slot not in held and self._other(slot, 1) is None for slot in range(self.count()))

    def others_run(self, held: Collection[int]) -> bool:
        """Whether another worker runs something, with a slot or without."""
        return self.someone_alone() or any(
            slot not in held and self._other(slot, 1) is not None for slot in range(self.count())
        )

    def go_alone(self) -> None:
        """Marks that this worker runs something without a slot."""
        self._lock(ALONE + self.number)

    def back(self) -> None:
        """Removes that mark."""
        self._unlock(ALONE + self.number)

    def someone_alone(self) -> bool:
        """Whether another worker runs something without a slot."""
        return self._other(ALONE, 1 << NUMBER_BITS) is not None

    # the queue

    def stand(self, mark: int) -> None:
        """Joins the queue at `mark`; every worker sees it."""
        self._lock(LINE + mark)

    def step_out(self, mark: int) -> None:
        """Leaves the queue at `mark`."""
        self._unlock(LINE + mark)

    def line(self) -> list[int]:
        """The marks of all other workers that wait, in no order."""
        found: list[int] = []
        spans = [(LINE, END)]
        while spans and len(found) < MOST_WAITING:
            start, end = spans.pop()
            at = self._other(start, end - start) if start < end else None
            if at is not None:
                found.append(at - LINE)
                spans += [(start, at), (at + 1, end)]
        return found

    def wake(self, mark: int) -> None:
        """Wakes the worker at `mark`. Nothing happens when it is gone or was woken often."""
        with suppress(OSError):
            self.bell.sendto(b".", self._bell_path(number_of(mark)))

    def clear_wake(self) -> None:
        """Empties the socket that wakes this worker."""
        with suppress(OSError):
            for _ in range(DATAGRAMS):
                self.bell.recv(1)

    # internal

    def _enter(self) -> int:
        for number in range(1 << NUMBER_BITS):
            if self._lock(NUMBERS + number):
                return number
        raise OSError(errno.EAGAIN, "too many workers use it")

    def _bind(self) -> None:
        path = self._bell_path(self.number)
        with suppress(FileNotFoundError):
            os.unlink(path)  # of a worker that was killed: the number is ours
        self.bell.bind(path)

    def _bell_path(self, number: int) -> str:
        return f"{self._path}.{number}"

    def _lock(self, byte: int) -> bool:
        try:
            fcntl.fcntl(self._fd, fcntl.F_OFD_SETLK, _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, byte, 1, 0))
        except OSError as e:
            if e.errno in _HELD_BY_OTHERS:
                return False
            raise
        return True

    def _unlock(self, byte: int) -> None:
        fcntl.fcntl(self._fd, fcntl.F_OFD_SETLK, _FLOCK.pack(fcntl.F_UNLCK, os.SEEK_SET, byte, 1, 0))

    def _other(self, start: int, length: int) -> int | None:
        """The first byte of some lock that another worker has there."""
        asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, start, length, 0)
        kind, _, at, _, _ = _FLOCK.unpack(fcntl.fcntl(self._fd, fcntl.F_OFD_GETLK, asked))
        return None if kind == fcntl.F_UNLCK else max(start, at)
