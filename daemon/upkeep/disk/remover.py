"""Removes one file, or returns why not: it opens the file, asks the kernel whether it is in use, compares, and unlinks.

The order makes it safe. The file is reached through no link, has the inode and time that were planned and one name
only, and no process has it open or mapped. All checks use one descriptor. Only a name inside the open directory can
change in between, so nothing outside that directory can be lost. It keeps the budget of one sweep.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import sys
import threading
from typing import Final

from msgspec import Struct

from ...system.clock import Clock
from ..fs_port import KIND, FileSystemPort
from ..open_files import held_by_nobody, lease_signals_are_ignored, quiet_lease
from . import reasons
from . import special_files as specials

_OPEN: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_SET_LEASE: Final = fcntl.F_SETLEASE
_WRITE: Final = fcntl.F_WRLCK
_REGULAR: Final = stat.S_IFREG
_CODES: Final = {
    errno.ENOENT: reasons.GONE,
    errno.ELOOP: reasons.CHANGED,
    errno.ENXIO: reasons.CHANGED,
    errno.EISDIR: reasons.CHANGED,
    errno.EAGAIN: reasons.IN_USE,
    errno.ETXTBSY: reasons.IN_USE,
    errno.EBUSY: reasons.IN_USE,
    errno.EACCES: reasons.FORBIDDEN,
    errno.EPERM: reasons.FORBIDDEN,
    errno.EROFS: reasons.FORBIDDEN,
}


class Budget(Struct, frozen=True):
    """What one class may use in one sweep. Zero means no limit."""

    files: int = 20_000
    bytes: int = 0
    seconds: float = 10.0


class Remover:
    """Removes within a budget. With `dry_run` it does everything except the removal itself."""

    def __init__(
        self, files: FileSystemPort, clock: Clock, budget: Budget, stop: threading.Event, *, dry_run: bool
    ) -> None:
        self.files, self.dry_run, self.stop = files, dry_run, stop
        self._clock, self._budget = clock, budget
        self._deadline = float("inf")
        self._users = specials.SpecialUsers()
        self._quiet = lease_signals_are_ignored()
        # Bound once, because this runs a hundred thousand times in a row.
        self._open, self._close, self._fstat = files.open, files.close, files.fstat
        self._control, self._unlink = files.control, files.unlink
        self.most_files = budget.files or sys.maxsize
        self.removed = 0
        self.freed_bytes = 0
        self.exhausted = False

    def restart(self) -> None:
        """Starts the clock of the budget."""
        if self._budget.seconds:
            self._deadline = self._clock.monotonic() + self._budget.seconds

    def may_go_on(self) -> bool:
        """Whether budget is left. It is checked before each removal and each chunk."""
        budget = self._budget
        spent = self.removed >= self.most_files or (budget.bytes and self.freed_bytes >= budget.bytes)
        if spent or self._clock.monotonic() >= self._deadline or self.stop.is_set():
            self.exhausted = True
        return not self.exhausted

    def remove(
        self, dir_fd: int, name: str, device: int, inode: int, stamp: float, used_bytes: int, *, special: bool = False
    ) -> int:
        """Returns 0 when the planned file is gone (or would be), else the code of what spares it. Never raises OSError.

        A `special` file (a link, FIFO or socket) is never opened.
        """
        if special:
            return self._remove_special(dir_fd, name, (device, inode, stamp), used_bytes)
        try:
            fd = self._open(name, _OPEN, dir_fd=dir_fd)
        except OSError as e:
            return _CODES.get(e.errno or 0, reasons.FAILED)
        try:
            try:
                if not self._quiet:
                    quiet_lease(fd, self.files)
                self._control(fd, _SET_LEASE, _WRITE)
            except OSError:
                busy = held_by_nobody(fd, self.files)
                if busy:
                    return busy
            found = self._fstat(fd)
            later, changed = found.st_mtime, found.st_ctime
            if changed > later:
                later = changed
            if found.st_ino != inode or later != stamp or found.st_dev != device or found.st_nlink != 1:
                return reasons.CHANGED
            if found.st_mode & KIND != _REGULAR:
                return reasons.CHANGED
            if not self.dry_run:
                self._unlink(name, dir_fd=dir_fd)
        except OSError as e:
            return _CODES.get(e.errno or 0, reasons.FAILED)
        finally:
            self._close(fd)
        self.removed += 1
        self.freed_bytes += used_bytes
        return 0

    def _remove_special(self, dir_fd: int, name: str, planned: tuple[int, int, float], used_bytes: int) -> int:
        try:
            found = self.files.stat(name, dir_fd=dir_fd, follow_symlinks=False)
            now = (found.st_dev, found.st_ino, max(found.st_mtime, found.st_ctime))
            if now != planned or found.st_nlink != 1 or found.st_mode & KIND not in specials.KINDS:
                return reasons.CHANGED
            if busy := self._users.held(found.st_mode, name, found.st_dev, found.st_ino):
                return busy
            if not self.dry_run:
                self._unlink(name, dir_fd=dir_fd)
        except OSError as e:
            return _CODES.get(e.errno or 0, reasons.FAILED)
        self.count(1, used_bytes)
        return 0

    def count(self, entries: int, used_bytes: int) -> None:
        """Charges a removal that was done elsewhere (a whole directory) to the budget."""
        self.removed += entries
        self.freed_bytes += used_bytes
