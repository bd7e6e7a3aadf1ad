"""Lists a version's files without ever leaving it.

It walks by directory descriptor and opens with RESOLVE_BENEATH, so neither a link nor a concurrent rename can lead
outside. It allows only regular files and directories, and a link that ends at a regular file inside the version. In a
volume that Kubernetes projects, links to its directories are allowed too. It reads no contents.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct
from collections.abc import Collection, Iterator
from typing import Final

from msgspec import Struct

from ..sandbox.limits import libc
from ..shared.file_kinds import kind_of
from ..shared.volume_entries import content_of, is_deleted_on_nfs, is_of_volume, leads_into_data

MAX_FILES: Final = 10_000
MAX_DEPTH: Final = 8

_SYS_OPENAT2: Final = 437  # the same number on every architecture
_RESOLVE_NO_MAGICLINKS: Final = 0x02
_RESOLVE_BENEATH: Final = 0x08


class BadTree(ValueError):
    """Something in the version that no version may hold; the text names the path and the reason."""


class LinkOutside(BadTree):
    """A link that leads out of the version, as those of Hugging Face's cache do."""


class LinkToNothing(BadTree):
    """A link whose file is not there, or not yet."""


class FileSeen(Struct, frozen=True):
    """A regular file as it was found; two equal ones are the same unchanged file."""

    inode: int
    bytes: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> FileSeen:
        return cls(status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def open_version(path: str) -> int:
    """A descriptor of the version's directory. Raises BadTree when it is a link or no directory, OSError otherwise."""
    try:
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as e:
        if e.errno in (errno.ENOTDIR, errno.ELOOP):
            raise BadTree("the version itself is a link or no directory") from e
        raise


def files_of(root: int, passed_over: Collection[str] = ()) -> dict[str, FileSeen]:
    """Every regular file below the directory `root` by its relative name, links inside it by their own names.

    `passed_over` names links directly in `root` that are no part of the version. The entries by which a volume is
    projected are none either. Raises BadTree naming the first path that is not allowed, OSError when something cannot
    be read or is gone.
    """
    found: dict[str, FileSeen] = {}
    projected = bool(content_of(root))
    for name, seen in _walk(root, root, "", 1, passed_over, projected=projected):
        found[name] = seen
        if len(found) > MAX_FILES:
            raise BadTree(f"more than {MAX_FILES} files")
    return dict(sorted(found.items()))


def open_file(root: int, name: str) -> int:
    """A descriptor to read the regular file `name`. Raises BadTree when it is another kind of file or outside, OSError
    otherwise.
    """
    descriptor = _open_beneath(root, name)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise BadTree(f"{name} is not a regular file")
    return descriptor


def _walk(
    root: int, directory: int, inside: str, depth: int, passed_over: Collection[str] = (), *, projected: bool = False
) -> Iterator[tuple[str, FileSeen]]:
    with os.scandir(directory) as entries:
        names = []
        for entry in entries:
            if is_deleted_on_nfs(entry.name) or (projected and is_of_volume(entry.name)):
                continue
            names.append(_checked_name(inside, entry.name))
            if len(names) > MAX_FILES:
                raise BadTree(f"more than {MAX_FILES} entries in {inside or 'the version'}")
    for name in sorted(names):
        path = f"{inside}/{name}" if inside else name
        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
        if stat.S_ISREG(status.st_mode):
            yield path, FileSeen.of(status)
        elif stat.S_ISLNK(status.st_mode):
            if name in passed_over:
                continue
            if projected and leads_into_data(root, name) and (child := _projected_directory(root, path)) >= 0:
                yield from _within(root, child, path, depth)
            else:
                yield path, _through_link(root, path)
        elif stat.S_ISDIR(status.st_mode):
            child = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
            yield from _within(root, child, path, depth)
        else:
            raise BadTree(f"{path} is {kind_of(status.st_mode)}")


def _within(root: int, child: int, path: str, depth: int) -> Iterator[tuple[str, FileSeen]]:
    """What a directory of the version holds; closes its descriptor."""
    try:
        if depth >= MAX_DEPTH:
            raise BadTree(f"{path} is deeper than {MAX_DEPTH} levels")
        yield from _walk(root, child, path, depth + 1)
    finally:
        os.close(child)


def _projected_directory(root: int, path: str) -> int:
    """A descriptor of the directory that a link of a projected volume leads to; -1 when it leads to none."""
    try:
        found = _open_beneath(root, path)
    except FileNotFoundError:
        return -1
    if stat.S_ISDIR(os.fstat(found).st_mode):
        return found
    os.close(found)
    return -1


def _checked_name(inside: str, name: str) -> str:
    shown = os.fsencode(name).decode(errors="backslashreplace")
    if not name.isprintable() or shown != name:
        raise BadTree(f"a file name in {inside or 'the version'} is not printable UTF-8: {shown!r}")
    return name


def _through_link(root: int, path: str) -> FileSeen:
    try:
        descriptor = _open_beneath(root, path)
    except FileNotFoundError as e:
        raise LinkToNothing(f"{path} is a link to nothing") from e
    try:
        status = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise BadTree(f"{path} is a link to something that is not a regular file")
    return FileSeen.of(status)


def _open_beneath(root: int, path: str) -> int:
    """openat2(2): the kernel itself refuses to leave `root`, whatever is renamed or linked meanwhile."""
    how = struct.pack("=QQQ", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC, 0, _RESOLVE_BENEATH | _RESOLVE_NO_MAGICLINKS)
    descriptor: int = libc.syscall(
        ctypes.c_long(_SYS_OPENAT2), ctypes.c_int(root), os.fsencode(path), how, ctypes.c_size_t(len(how))
    )
    if descriptor >= 0:
        return descriptor
    code = ctypes.get_errno()
    if code == errno.EXDEV:
        raise LinkOutside(f"{path} is a link that leads outside the version")
    if code == errno.ELOOP:
        raise BadTree(f"{path} is a link that never ends")
    if code == errno.ENOSYS:
        return _open_step_by_step(root, path)
    raise OSError(code, os.strerror(code), path)


def _open_step_by_step(root: int, path: str) -> int:
    """For kernels before 5.6: opens one name after another and allows no links."""
    *parents, name = path.split("/")
    directory = os.dup(root)
    try:
        for parent in parents:
            child = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
            os.close(directory)
            directory = child
        return os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    except OSError as e:
        if e.errno in (errno.ELOOP, errno.ENOTDIR):
            raise BadTree(f"{path} is a link, which this kernel gives no safe way to follow") from e
        raise
    finally:
        os.close(directory)
