"""Opens a directory with logs once and judges its files: live logs, archives, and what a crash left.

It refuses directories in which other users could exchange names, paths with a link that another user can change, and
files that are not regular or have several names. Each refusal has its reason. Missing directories and files are no
error.
"""

from __future__ import annotations

import errno
import fnmatch
import os
import stat
from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from ....worker.shared.file_kinds import kind_of
from ...errors import Refused
from ...system.safe_paths import open_directory
from .. import syscalls
from ..fs_port import FileSystemPort
from .rotation_policy import (
    HEAD,
    PART,
    Archive,
    Live,
    is_leftover,
    parse_archive,
    stamp_seconds,
)

MAX_ENTRIES: Final = 100_000
FUTURE_SECONDS: Final = 86400.0
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


def open_log_directory(path: str, files: FileSystemPort) -> int:
    """Returns a descriptor. Raises Refused with the reason; FileNotFoundError when there is no such directory."""
    try:
        fd = open_directory(path, opener=files.open, last_link=False)
    except OSError as e:
        if e.errno in (errno.ELOOP, errno.ENOTDIR):
            raise Refused(f"cannot rotate in {path}: {e.strerror}; nothing was touched") from e
        raise
    found = files.fstat(fd)
    why = ""
    if found.st_mode & stat.S_IWOTH:
        why = "every user may write to it"
    elif found.st_mode & stat.S_IWGRP and found.st_gid not in (0, os.getegid(), *os.getgroups()):
        why = f"group {found.st_gid} may write to it, and is not ours"
    elif found.st_uid not in (0, os.geteuid()) and os.geteuid() != 0:
        why = f"uid {found.st_uid} owns it"
    if why:
        files.close(fd)
        raise Refused(f"cannot rotate in {path}: {why}; nothing was touched")
    return fd


def refuse_file(found: os.stat_result) -> str:
    """Why a file is not rotated because of its kind; "" for a regular file with one name."""
    if not stat.S_ISREG(found.st_mode):
        return kind_of(found.st_mode)
    if found.st_nlink != 1:
        return f"has {found.st_nlink} names (hard links)"
    return ""


class Listing(Struct, frozen=True):
    """What a reading of the directory found. `names` are all names in it."""

    names: frozenset[str]
    archives: tuple[Archive, ...]
    parts: tuple[str, ...]
    heads: tuple[str, ...]


def list_logs(dir_fd: int, files: FileSystemPort) -> Listing:
    """Everything in the directory that concerns rotation. Reads at most MAX_ENTRIES entries."""
    names: list[str] = []
    archives, parts, heads = [], [], []
    with files.scandir(dir_fd) as entries:
        for entry in entries:
            if len(names) >= MAX_ENTRIES:
                break
            names.append(entry.name)
            if is_leftover(entry.name, PART):
                parts.append(entry.name)
            elif is_leftover(entry.name, HEAD):
                heads.append(entry.name)
            elif parse_archive(entry.name):
                archive = _archive(entry)
                if archive is not None:
                    archives.append(archive)
    return Listing(frozenset(names), tuple(archives), tuple(parts), tuple(heads))


def _archive(entry: os.DirEntry[str]) -> Archive | None:
    parsed = parse_archive(entry.name)
    try:
        found = entry.stat(follow_symlinks=False)
    except OSError:
        return None
    if parsed is None or refuse_file(found):
        return None
    return Archive(entry.name, parsed[0], parsed[1], found.st_blocks * 512, found.st_mtime)


def live_names(listing: Listing, patterns: Iterable[str]) -> list[str]:
    """The names of live files: exact names as they are, patterns expanded; never archives or unfinished ones."""
    found: set[str] = set()
    for pattern in patterns:
        if not any(c in pattern for c in "*?["):
            found.add(pattern)
            continue
        for name in listing.names:
            ours = parse_archive(name) or is_leftover(name, PART) or is_leftover(name, HEAD)
            if not ours and fnmatch.fnmatchcase(name, pattern):
                found.add(name)
    return sorted(found)


def live_paths(directory: str, patterns: Iterable[str]) -> list[str]:
    """The paths of the live files that are there; none where the directory cannot be read."""
    try:
        fd = open_directory(directory)
    except OSError:
        return []
    try:
        listing = list_logs(fd, FileSystemPort())
    except OSError:
        return []
    finally:
        os.close(fd)
    return [f"{directory.rstrip('/')}/{name}" for name in live_names(listing, patterns) if name in listing.names]


def live_file(dir_fd: int, name: str, archives: Iterable[Archive], files: FileSystemPort, now: float) -> Live | None:
    """The facts of a live file; None when there is none. Raises Refused for a file of another kind.

    What a program that does not append left as a hole, when its log was truncated, does not count as its size.
    An archive dated after `now` was made while the clock was wrong: the file itself shows when it began.
    """
    try:
        found = files.stat(name, dir_fd=dir_fd, follow_symlinks=False)
    except FileNotFoundError:
        return None
    why = refuse_file(found)
    if why:
        raise Refused(f"cannot rotate {name}: {why}; nothing was touched")
    held = found.st_size
    if found.st_blocks * 512 < held:
        held = _behind_first_hole(name, dir_fd, held, files)
    stamps = [a.stamp for a in archives if a.live == name and stamp_seconds(a.stamp) <= now + FUTURE_SECONDS]
    began = stamp_seconds(max(stamps)) if stamps else None
    if began is None:
        fd = files.open(name, _READ, dir_fd=dir_fd)
        try:
            began = syscalls.birth_seconds(fd)
        finally:
            files.close(fd)
    return Live(name, held, began if began is not None else found.st_mtime)


def _behind_first_hole(name: str, dir_fd: int, size_bytes: int, files: FileSystemPort) -> int:
    """The size without a hole at the beginning; the whole size of a file that is nothing but a hole."""
    fd = files.open(name, _READ, dir_fd=dir_fd)
    try:
        return size_bytes - os.lseek(fd, 0, os.SEEK_DATA)
    except OSError as e:
        if e.errno != errno.ENXIO:
            raise
        return size_bytes
    finally:
        files.close(fd)


def archives_of(directory: str, name: str, files: FileSystemPort) -> tuple[list[Archive], list[str]]:
    """The archives of one log from the oldest to the newest, each once: plain where it exists in both forms.

    And the names of those that are being made now. Nothing where the directory cannot be read.
    """
    try:
        fd = open_directory(directory or "/")
    except OSError:
        return [], []
    try:
        listing = list_logs(fd, files)
    except OSError:
        return [], []
    finally:
        os.close(fd)
    found: dict[str, Archive] = {}
    for archive in sorted((a for a in listing.archives if a.live == name), key=lambda a: a.name):
        found.setdefault(archive.stamp, archive)
    heads = [h for h in listing.heads if (parse_archive(h.removesuffix(HEAD)) or ("", ""))[0] == name]
    return list(found.values()), heads


def stamp_of(head: str) -> str:
    """The stamp of an archive that is being made, by the name of its unfinished file."""
    return (parse_archive(head.removesuffix(HEAD)) or ("", ""))[1]
