"""Measures classes whose entries are removed as a whole directory, and removes one after a last check.

A unit is one such directory. It is as young as the youngest entry in it, and in use when any file in it is. Which units
must stay (live, serving, held) may change during a sweep. So the daemon is asked again before each removal.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final

from ..fs_port import FileSystemPort
from ..open_files import held_by_nobody
from . import reasons as because
from . import trash
from .file_table import FileTable
from .quota import Ages, unit_by_age
from .remover import Remover
from .walk import (
    Directory,
    Interrupted,
    Row,
    lock,
    walk,
)

Keep = Callable[[str], str]  # a unit's name -> why it must stay, "" when it may go
_OPEN: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class UnitGatherer:
    """A visitor (walk.py). It adds one row for each directory, with its bytes and the youngest time in it.

    Why a row is kept goes into `reasons`.
    """

    def __init__(self, table: FileTable, ages: Ages, keep: Keep, reasons: dict[int, str]) -> None:
        self.table, self._ages, self._keep, self._reasons = table, ages, keep, reasons
        self._seen: set[int] = set()
        self._used = 0
        self._stamp = 0.0
        self._blocked = 0

    def entered(self, directory: Directory) -> None:
        if directory.parent is None:
            directory.place = self.table.add_place(-1, "", directory.stat.st_ino)
        elif directory.depth == 1:
            self._used, self._stamp, self._blocked = 0, 0.0, 0
        if directory.parent is not None:
            self._see(directory.stat)

    def _see(self, st: os.stat_result) -> None:
        self._stamp = max(self._stamp, st.st_mtime, st.st_ctime)
        if st.st_ino not in self._seen:
            self._used += st.st_blocks * 512
            if st.st_nlink > 1:
                self._seen.add(st.st_ino)

    def met(self, directory: Directory, rows: list[Row]) -> None:
        if directory.depth:
            for _, st in rows:
                self._see(st)

    def passed_over(self, directory: Directory, name: str, found: os.stat_result | None, code: int) -> None:
        if directory.depth:
            self._blocked = code
        elif found is not None:
            used, stamp = found.st_blocks * 512, max(found.st_mtime, found.st_ctime)
            self.table.add(directory.place, name, found.st_ino, used, stamp, code)

    def leaving(self, directory: Directory) -> None:
        if directory.depth != 1:
            return
        why = self._keep(directory.name)
        code = because.KEPT if why else self._blocked or unit_by_age(self._stamp, self._ages)
        place = directory.parent.place if directory.parent else -1
        row = self.table.add(place, directory.name, directory.stat.st_ino, self._used, self._stamp, code)
        if why:
            self._reasons[row] = why


def remove_unit(
    root_fd: int, table: FileTable, row: int, remover: Remover, keep: Keep, reasons: dict[int, str], *, now: float
) -> int:
    """Returns 0 when the unit is in the trash (or would be, in a dry run), else the code of what spares it."""
    files, name = remover.files, table.names[row]
    try:
        fd = files.open_directory(name, dir_fd=root_fd)
    except FileNotFoundError:
        return because.GONE
    except OSError:
        return because.CHANGED
    try:
        if files.fstat(fd).st_ino != table.inodes[row]:
            return because.CHANGED
        if not lock(fd, files):
            return because.LOCKED
        look = _LastLook(files)
        walk(fd, look, files=files, locking=True, stop=remover.stop)
        if look.code:
            return look.code
        if look.stamp > table.stamps[row]:
            return because.CHANGED
        if why := keep(name):
            reasons[row] = why
            return because.KEPT
        if not remover.dry_run:
            trash.throw_away(root_fd, name, files, stamp_ns=int(now * 1e9))
    except Interrupted:
        return because.LATER
    except OSError:
        return because.FAILED
    finally:
        files.close(fd)
    remover.count(1, table.bytes[row])
    return 0


class _LastLook:
    """A visitor that checks whether any file is in use, and how young the tree is now."""

    def __init__(self, files: FileSystemPort) -> None:
        self._files = files
        self.code = 0
        self.stamp = 0.0

    def entered(self, directory: Directory) -> None:
        self.stamp = max(self.stamp, directory.stat.st_mtime, directory.stat.st_ctime)

    def met(self, directory: Directory, rows: list[Row]) -> None:
        for name, st in rows:
            self.stamp = max(self.stamp, st.st_mtime, st.st_ctime)
            if st.st_mode & 0o170000 == 0o100000 and not self.code:
                self.code = self._ask(directory.fd, name)

    def _ask(self, dir_fd: int, name: str) -> int:
        try:
            fd = self._files.open(name, _OPEN, dir_fd=dir_fd)
        except OSError:
            return because.CHANGED
        try:
            return held_by_nobody(fd, self._files)
        except OSError:
            return because.FAILED
        finally:
            self._files.close(fd)

    def passed_over(self, directory: Directory, name: str, found: os.stat_result | None, code: int) -> None:
        self.code = self.code or code

    def leaving(self, directory: Directory) -> None:
        return
