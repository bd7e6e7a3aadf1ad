"""Walks a tree by directory descriptors: through no link, over no mount point, never upward, at most MAX_DEPTH deep.

It reports to a visitor and removes nothing. Invariant: every descriptor that a visitor gets was opened below its
parent's descriptor and has the inode that the parent listed. So an exchange of names cannot lead out of the tree.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import threading
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, Final, Protocol

from msgspec import Struct, field

from ..fs_port import KIND, FileSystemPort
from . import reasons

MAX_DEPTH: Final = 32
CHUNK_ENTRIES: Final = 512
TRASH: Final = ".trash"
_IS_DIRECTORY: Final = stat.S_IFDIR

Row = tuple[str, os.stat_result]


class Interrupted(Exception):
    """The walk was asked to stop; nothing is wrong."""


class Directory(Struct):
    """A directory that is open now. The visitor sets `place`; `left_over` counts what stays in the directory."""

    fd: int
    name: str
    parent: Directory | None
    stat: os.stat_result
    depth: int
    place: int = -1
    left_over: int = 0
    removed: int = 0
    pending: list[Row] = field(default_factory=list)


class Visitor(Protocol):
    """Receives what a walk finds."""

    def entered(self, directory: Directory) -> None:
        """Called before anything in the directory."""

    def met(self, directory: Directory, rows: list[Row]) -> None:
        """Called with everything in the directory that is no directory, in chunks."""

    def passed_over(self, directory: Directory, name: str, found: os.stat_result | None, code: int) -> None:
        """Called for an entry or sub-directory that is not read, with the reason (reasons.py)."""

    def leaving(self, directory: Directory) -> None:
        """Called after everything below the directory; it is still open."""


def lock(fd: int, files: FileSystemPort) -> bool:
    """Locks the directory as systemd-tmpfiles does. False when another process holds the lock."""
    try:
        files.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def walk(
    root_fd: int,
    visitor: Visitor,
    *,
    files: FileSystemPort,
    locking: bool = False,
    skip: Sequence[str] = (),
    exclude: frozenset[tuple[int, int]] = frozenset(),
    stop: threading.Event | None = None,
    flat: bool = False,
) -> None:
    """Walks depth first, a directory's own entries before its sub-directories. Closes all but `root_fd`.

    With `locking` every sub-directory is locked while it is open, and skipped when another process holds it. `skip` are
    names directly below the root that are not reported. `exclude` are directories (device, inode) with a class of their
    own. With `flat` no sub-directory is read: it belongs to other programs. Raises Interrupted when `stop` is set. An
    exception of a visitor ends the walk too.
    """
    root = Directory(root_fd, "", None, files.fstat(root_fd), 0)
    stack = [root]
    try:
        _list(root, visitor, files, skip, stop)
        while stack:
            top = stack[-1]
            if top.pending:
                name, found = top.pending.pop()
                child = _enter(top, name, found, visitor, files, locking, exclude, flat)
                if child is not None:
                    stack.append(child)
                    _list(child, visitor, files, (), stop)
                continue
            visitor.leaving(top)
            stack.pop()
            if top is not root:
                files.close(top.fd)
    finally:
        for directory in stack[::-1]:
            if directory is not root:
                files.close(directory.fd)


def _enter(
    parent: Directory,
    name: str,
    found: os.stat_result,
    visitor: Visitor,
    files: FileSystemPort,
    locking: bool,
    exclude: frozenset[tuple[int, int]],
    flat: bool,
) -> Directory | None:
    code, child = reasons.TOO_DEEP, None
    if (found.st_dev, found.st_ino) in exclude:
        code = reasons.OWN_RULE
    elif flat:
        code = reasons.FOREIGN
    elif parent.depth < MAX_DEPTH:
        code, child = _open_child(parent, name, found, files, locking)
    if child is None:
        parent.left_over += 1
        visitor.passed_over(parent, name, found, code)
    return child


def _open_child(
    parent: Directory, name: str, found: os.stat_result, files: FileSystemPort, locking: bool
) -> tuple[int, Directory | None]:
    if found.st_dev != parent.stat.st_dev:
        return reasons.ELSEWHERE, None
    try:
        fd = files.open_directory(name, dir_fd=parent.fd)
    except OSError as e:
        return _CODES.get(e.errno or 0, reasons.FAILED), None
    try:
        now = files.fstat(fd)
    except OSError:
        files.close(fd)
        return reasons.FAILED, None
    if (now.st_dev, now.st_ino) != (found.st_dev, found.st_ino):
        files.close(fd)
        return reasons.CHANGED, None
    if locking and not lock(fd, files):
        files.close(fd)
        return reasons.LOCKED, None
    return 0, Directory(fd, name, parent, now, parent.depth + 1)


_CODES: Final = {
    errno.ENOENT: reasons.GONE,
    errno.ELOOP: reasons.CHANGED,
    errno.ENOTDIR: reasons.CHANGED,
    errno.EXDEV: reasons.ELSEWHERE,
    errno.EACCES: reasons.UNREADABLE,
    errno.EPERM: reasons.UNREADABLE,
}


def _list(
    directory: Directory, visitor: Visitor, files: FileSystemPort, skip: Sequence[str], stop: threading.Event | None
) -> None:
    visitor.entered(directory)
    try:
        entries = files.scandir(directory.fd)
    except OSError:
        directory.left_over += 1
        visitor.passed_over(directory, "", None, reasons.UNREADABLE)
        return
    with entries:
        for rows in _chunks(entries, directory, visitor):
            if stop is not None and stop.is_set():
                raise Interrupted
            plain = [row for row in rows if row[1].st_mode & KIND != _IS_DIRECTORY]
            if len(plain) < len(rows):
                found = [row for row in rows if row[1].st_mode & KIND == _IS_DIRECTORY and row[0] not in skip]
                directory.pending += found
            if plain:
                visitor.met(directory, plain)


def _chunks(entries: Any, directory: Directory, visitor: Visitor) -> Iterator[list[Row]]:
    while True:
        try:
            batch = list(islice(entries, CHUNK_ENTRIES))
        except OSError:
            directory.left_over += 1
            visitor.passed_over(directory, "", None, reasons.UNREADABLE)
            return
        if not batch:
            return
        try:
            rows = [(entry.name, entry.stat(follow_symlinks=False)) for entry in batch]
        except OSError:
            rows = list(_one_by_one(batch, directory, visitor))
        yield rows


def _one_by_one(batch: list[os.DirEntry[str]], directory: Directory, visitor: Visitor) -> Iterator[Row]:
    for entry in batch:
        try:
            yield entry.name, entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            visitor.passed_over(directory, entry.name, None, reasons.GONE)
        except OSError:
            directory.left_over += 1
            visitor.passed_over(directory, entry.name, None, reasons.FAILED)
