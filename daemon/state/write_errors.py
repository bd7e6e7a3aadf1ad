"""Describes why the state cannot be written, with the command that helps. It only reads."""

from __future__ import annotations

import errno
import os
import pwd
import sqlite3
from pathlib import Path
from typing import Final

from msgspec import Struct

from .database_file import is_damage

_FILE: Final = {
    sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PERM, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_NOLFS,
}  # fmt: skip
_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT)
_ROOM_BYTES: Final = 64 << 10
"""Less than SQLite needs for the files beside the database."""


class Trouble(Struct, frozen=True):
    """`no_room`: a sweep may help."""

    sentence: str
    no_room: bool = False


def is_of_the_file(error: Exception) -> bool:
    """Whether the file or its disk caused an error. Otherwise the request did."""
    code = getattr(error, "sqlite_errorcode", None)
    return isinstance(error, sqlite3.Error) and code is not None and code & 0xFF in _FILE


def trouble(path: Path, error: Exception) -> Trouble:
    """The meaning of `error` for the file at `path`."""
    cause, help_, no_room = _cause(path, error)
    return Trouble("; ".join(filter(None, (f"cannot write {path}: {cause}", help_))), no_room)


def remark(path: Path) -> str:
    """For a check outside the daemon: why the file could not be written now, "" when no reason is found."""
    try:
        cause, help_, _ = _of_the_disk(_nearest(path.parent), None)
    except OSError as e:
        cause, help_ = e.strerror or str(e), ""
    return "; ".join(filter(None, (f"cannot write {path}: {cause}", help_))) if cause else ""


def _cause(path: Path, error: Exception) -> tuple[str, str, bool]:
    text = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
    number = error.errno if isinstance(error, OSError) else None
    code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
    place = _nearest(path.parent)
    if is_damage(error):
        return text, "what is known is kept and written to a new file", False
    if code == sqlite3.SQLITE_BUSY:
        return "another process holds it", f"fuser -v {path} shows which", False
    try:
        found = _of_the_disk(place, errno.ENOSPC if code == sqlite3.SQLITE_FULL else number)
    except OSError as e:
        return e.strerror or str(e), "", False
    if found[0]:
        return found
    if number in (errno.EACCES, errno.EPERM) or code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN):
        for name in (path, place):
            if name.exists() and not os.access(name, os.W_OK):
                return f"{_user()} may not write {name}", f"chown {_user()} {name}", False
    if path.is_dir():
        return "a directory has its name", f"mv {path} {path}.old", False
    if path.parent.exists() and not path.parent.is_dir():
        return f"{path.parent} is no directory", f"mv {path.parent} {path.parent}.old", False
    return text, "", False


def _of_the_disk(place: Path, number: int | None) -> tuple[str, str, bool]:
    """Cause, help and whether space is missing; no cause when the disk is fine. `number` is the error's."""
    disk = os.statvfs(place)
    if disk.f_flag & os.ST_RDONLY:
        return "the file system is read-only", f"mount -o remount,rw {_mount_point(place)}", False
    no_inodes = bool(disk.f_files) and not disk.f_favail
    if number in _NO_ROOM or no_inodes or disk.f_bavail * disk.f_frsize < _ROOM_BYTES:
        where = f"no {'inodes' if no_inodes else 'space'} left on the disk of {_mount_point(place)}"
        return where, "`modelward disk` shows what takes it, `modelward sweep` removes what may go", True
    return "", "", False


def _nearest(directory: Path) -> Path:
    """The directory, or the nearest parent that exists."""
    return next((place for place in (directory, *directory.parents) if place.exists()), Path("/"))


def _mount_point(place: Path) -> Path:
    return next((above for above in (place, *place.parents) if os.path.ismount(above)), Path("/"))


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
