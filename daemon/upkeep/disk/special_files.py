"""Finds out whether a process uses a FIFO or a socket, without opening it.

Opening a FIFO would let a writer continue, and leases exist for regular files only. So /proc is read once for a whole
sweep. A socket counts as used when any socket with this name is bound, in any directory. Symbolic links are never in
use.
"""

from __future__ import annotations

import os
import stat
from typing import Final

from msgspec import Struct, field

from . import reasons

KINDS: Final = frozenset((stat.S_IFLNK, stat.S_IFIFO, stat.S_IFSOCK))
"""Kinds that are removed by age and number like regular files. Devices are never removed."""


class SpecialUsers(Struct):
    """Which FIFOs and sockets are in use, as read at the first call."""

    _sockets: frozenset[str] | None = None
    _pipes: frozenset[tuple[int, int]] | None = None
    _pipes_complete: bool = field(default=True)

    def held(self, mode: int, name: str, device: int, inode: int) -> int:
        """Returns 0 when it is free, else IN_USE or UNPROVEN (reasons.py)."""
        kind = stat.S_IFMT(mode)
        if kind == stat.S_IFSOCK:
            return self._socket(name)
        return self._pipe(device, inode) if kind == stat.S_IFIFO else 0

    def _socket(self, name: str) -> int:
        if self._sockets is None:
            try:
                self._sockets = _bound_names()
            except OSError:
                return reasons.UNPROVEN
        return reasons.IN_USE if name in self._sockets else 0

    def _pipe(self, device: int, inode: int) -> int:
        if self._pipes is None:
            self._pipes, self._pipes_complete = _open_pipes()
        if (device, inode) in self._pipes:
            return reasons.IN_USE
        return 0 if self._pipes_complete else reasons.UNPROVEN


def _bound_names() -> frozenset[str]:
    """The last name in the path of every bound socket. Raises OSError."""
    names = set()
    with open("/proc/net/unix", encoding="utf-8", errors="surrogateescape") as sockets:
        for line in sockets:
            fields = line.rstrip("\n").split(None, 7)
            if len(fields) == 8:
                names.add(fields[7].rpartition("/")[2])
    return frozenset(names)


def _open_pipes() -> tuple[frozenset[tuple[int, int]], bool]:
    """Device and inode of every FIFO that a process has open, and whether every process could be read."""
    found: set[tuple[int, int]] = set()
    complete = True
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            descriptors = os.listdir(f"/proc/{pid}/fd")
        except PermissionError:
            complete = False
            continue
        except OSError:
            continue  # the process has ended
        for number in descriptors:
            try:
                facts = os.stat(f"/proc/{pid}/fd/{number}")
            except OSError:
                continue
            if stat.S_ISFIFO(facts.st_mode):
                found.add((facts.st_dev, facts.st_ino))
    return frozenset(found), complete
