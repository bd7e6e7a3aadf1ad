"""Finds out whether a process uses a file. One lease asks the kernel for all processes at once.

A write lease is granted only while no other process has the file open or mapped, in any container. Where leases cannot
be had (another owner without CAP_LEASE, some file systems), a lock and a search of /proc decide. When /proc hides
processes from us, the answer is "cannot be shown", never "free".
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import stat
from collections.abc import Iterator
from typing import Final

from msgspec import Struct

from ..units import shown
from .disk import reasons
from .fs_port import FileSystemPort

_F_SETSIG: Final = 10
_BUSY: Final = (errno.EAGAIN, errno.EWOULDBLOCK)
_O_ACCMODE: Final = 3


class Holder(Struct, frozen=True):
    """A process that has a file open. `access` is O_RDONLY, O_WRONLY or O_RDWR; `appends`: it used O_APPEND."""

    pid: int
    access: int
    appends: bool


def lease_signals_are_ignored() -> bool:
    """Whether a broken lease does not end this process: SIGIO is ignored or handled."""
    return signal.getsignal(signal.SIGIO) is not signal.SIG_DFL


def quiet_lease(fd: int, files: FileSystemPort) -> None:
    """Makes a broken lease send SIGURG, which does nothing, instead of SIGIO, which ends a process.

    Raises OSError where leases do not exist.
    """
    files.control(fd, _F_SETSIG, signal.SIGURG)


def held_by_nobody(fd: int, files: FileSystemPort, *, lease: int = fcntl.F_WRLCK) -> int:
    """Returns 0 when the file is free, else IN_USE or UNPROVEN. With F_RDLCK only writers count.

    Keeps the lease until `fd` is closed.
    """
    try:
        if not lease_signals_are_ignored():
            quiet_lease(fd, files)
        files.control(fd, fcntl.F_SETLEASE, lease)
    except OSError as e:
        if e.errno in _BUSY:
            return reasons.IN_USE
        return _by_lock_and_proc(fd, files, lease)
    return 0


def _by_lock_and_proc(fd: int, files: FileSystemPort, lease: int) -> int:
    try:
        files.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return reasons.IN_USE
    found = files.fstat(fd)
    holders, complete = open_by(found.st_dev, found.st_ino)
    others = [h for h in holders if h.pid != os.getpid() and (lease == fcntl.F_WRLCK or h.access != os.O_RDONLY)]
    if others:
        return reasons.IN_USE
    return 0 if complete else reasons.UNPROVEN


def open_by(device: int, inode: int) -> tuple[list[Holder], bool]:
    """The processes that have the file open or mapped, from /proc, and whether every process could be read."""
    holders: list[Holder] = []
    complete = True
    for pid in _pids():
        try:
            descriptors = os.listdir(f"/proc/{pid}/fd")
            mapped = _maps_name(pid, device, inode)
        except (FileNotFoundError, ProcessLookupError):
            continue
        except PermissionError:
            complete = False
            continue
        for name in descriptors:
            holder = _holder(pid, name, device, inode)
            if holder is not None:
                holders.append(holder)
        if mapped:
            holders.append(Holder(pid, os.O_RDONLY, False))
    return holders, complete


def _pids() -> Iterator[int]:
    for name in os.listdir("/proc"):
        if name.isdigit():
            yield int(name)


def _holder(pid: int, name: str, device: int, inode: int) -> Holder | None:
    try:
        found = os.stat(f"/proc/{pid}/fd/{name}")
        if (found.st_dev, found.st_ino) != (device, inode):
            return None
        with open(f"/proc/{pid}/fdinfo/{name}", encoding="ascii") as info:
            flags = next((int(line.split()[1], 8) for line in info if line.startswith("flags:")), 0)
    except OSError:
        return None
    return Holder(pid, flags & _O_ACCMODE, bool(flags & os.O_APPEND))


def _maps_name(pid: int, device: int, inode: int) -> bool:
    wanted = f"{os.major(device):02x}:{os.minor(device):02x} {inode} "
    with open(f"/proc/{pid}/maps", encoding="utf-8", errors="replace") as maps:
        return any(wanted in line for line in maps)


def deleted_but_open(pids: list[int], *, empty: bool = False) -> list[tuple[int, str, int]]:
    """Files that these processes hold open although their names are gone: (pid, former path, bytes on disk).

    The largest first, each inode once, as its space is freed once. Processes that ended or that we may not read are
    left out. With `empty` also files that take no space: a log file that waits for its first line.
    """
    seen: set[tuple[int, int]] = set()
    found = []
    for pid in pids:
        try:
            names = os.listdir(f"/proc/{pid}/fd")
        except OSError:
            continue
        for name in names:
            try:
                facts = os.stat(f"/proc/{pid}/fd/{name}")
                if not stat.S_ISREG(facts.st_mode) or facts.st_nlink or (facts.st_dev, facts.st_ino) in seen:
                    continue
                path = os.readlink(f"/proc/{pid}/fd/{name}").removesuffix(" (deleted)")
            except OSError:
                continue
            seen.add((facts.st_dev, facts.st_ino))
            if not (facts.st_blocks or empty) or path.startswith("/memfd:"):
                continue  # takes no space, or only memory
            found.append((pid, shown(path), facts.st_blocks * 512))
    return sorted(found, key=lambda item: -item[2])
