"""Removes the head of a file while programs append to it: none of their lines is lost, doubled or torn.

It copies whole lines to an archive, syncs it, marks the cut (collapse_marker), then removes whole blocks in place in
one atomic call. Writers are never stopped; they must append (O_APPEND). A file with a writer that does not is refused.
After a crash at any point `recover` undoes or finishes the work.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import threading
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from ..fs_port import FileSystemPort, write_whole
from ..open_files import open_by
from . import collapse_marker, compress
from .rotation_policy import (
    HEAD,
    PART,
    parse_archive,
    stamp_micros,
)

CHUNK_BYTES: Final = 1 << 20
ROUND_BYTES: Final = 2 << 30
"""The most that one collapse takes. The rest of a larger file follows at later ones, so that other files are served
too.
"""
MAX_LINE_BYTES: Final = 64 << 20
"""The longest distance in which the end of a line is searched."""
_BLOCKS: Final = (4096, 65536, 1 << 20)
_CREATE: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_LIVE: Final = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_UNSUPPORTED: Final = (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


class Spared(Exception):
    """The file stays as it is; the text gives the reason."""


class Unsupported(Spared):
    """The file system cannot collapse a file."""


class NotCollapsible(Spared):
    """The file was not written by appending: it has holes, or it is too large to be copied."""


class NotAppending(NotCollapsible):
    """A process writes to it at a place of its own: whatever is cut, it goes on there and leaves a hole before it."""


class Collapsed(Struct, frozen=True):
    """Bytes of whole lines that went to the archive, and by how many bytes the live file became shorter."""

    archive: str
    archived_bytes: int
    taken_bytes: int


def block_of(dir_fd: int, name: str, files: FileSystemPort) -> int:
    """The block size in bytes in which this file system collapses; 0 when it cannot. Found by a trial."""
    probe = f"{name}{PART}"
    with contextlib.suppress(FileNotFoundError):
        files.unlink(probe, dir_fd=dir_fd)
    fd = files.open(probe, _CREATE, 0o600, dir_fd=dir_fd)
    try:
        for block in _BLOCKS:
            write_whole(files, fd, b"\0" * (2 * block))
            try:
                files.collapse_head(fd, block)
            except OSError as e:
                if e.errno not in _UNSUPPORTED:
                    raise
                continue
            return block
        return 0
    finally:
        files.close(fd)
        files.unlink(probe, dir_fd=dir_fd)


def collapse(dir_fd: int, name: str, archive: str, files: FileSystemPort, stop: threading.Event) -> Collapsed:
    """Moves the whole lines at the head of `name` to `archive` (a new name). Raises Spared, Unsupported, OSError.

    After an OSError before the cut nothing has changed; after one at the cut the mark has been removed again.
    """
    fd = files.open(name, _LIVE, dir_fd=dir_fd)
    try:
        found = files.fstat(fd)
        _refuse_endless(fd, found, most_bytes=found.st_size)
        _refuse_overwriters(found)
        block = block_of(dir_fd, archive, files)
        if not block:
            raise Unsupported("the file system cannot collapse a file (ext4 and XFS can)")
        cut = collapse_marker.cut_at(_end_of_lines(fd, min(found.st_size, ROUND_BYTES), files), block)
        if cut <= 0:
            raise Spared(f"less than a block of {block} bytes in whole lines")
        start = _after_mark(fd, files)
        end = _line_end(fd, cut + collapse_marker.LENGTH, found.st_size, files)
        if end <= start:
            raise Spared("nothing but the mark of the last collapse")
        copy_aside(fd, [(start, end)], dir_fd, archive, found, files, stop)
        line = files.pread(fd, end - cut, cut)
        try:
            _pwrite_whole(fd, collapse_marker.write_mark(stamp_micros(_stamp(archive)), cut, end - cut), cut, files)
            files.fsync(fd)
            files.collapse_head(fd, cut)
        except OSError:
            _pwrite_whole(fd, line, cut, files)
            files.unlink(archive + HEAD, dir_fd=dir_fd)
            raise
        files.rename_noreplace(archive + HEAD, archive, source_dir=dir_fd, target_dir=dir_fd)
        files.fsync(fd)
        files.fsync(dir_fd)
    finally:
        files.close(fd)
    return Collapsed(archive, end - start, cut)


def _stamp(archive: str) -> str:
    parsed = parse_archive(archive)
    if parsed is None:
        raise ValueError(f"cannot collapse into {archive!r}: not an archive's name")
    return parsed[1]


def _refuse_overwriters(found: os.stat_result) -> None:
    """Spares a file if a process writes it at an offset of its own: after a collapse it would leave a hole."""
    holders, _ = open_by(found.st_dev, found.st_ino)
    for holder in holders:
        if holder.pid != os.getpid() and holder.access != os.O_RDONLY and not holder.appends:
            raise NotAppending(f"process {holder.pid} writes to it without O_APPEND and would leave a hole")


def _refuse_endless(fd: int, found: os.stat_result, *, most_bytes: int) -> None:
    try:
        compress.refuse_endless(fd, found.st_size, most_bytes)
    except compress.NotCompressible as e:
        if found.st_blocks and found.st_size <= most_bytes:
            raise NotAppending(f"{e}, as a program leaves them that does not append") from e
        raise NotCollapsible(str(e)) from e


def _end_of_lines(fd: int, size: int, files: FileSystemPort) -> int:
    """The offset after the last newline before `size`; 0 when there is none within MAX_LINE_BYTES."""
    floor = max(0, size - MAX_LINE_BYTES)
    while size > floor:
        start = max(0, size - CHUNK_BYTES)
        found = files.pread(fd, size - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        size = start
    return 0


def _line_end(fd: int, offset: int, size: int, files: FileSystemPort) -> int:
    """The offset after the first newline at or after `offset`. Raises Spared when there is none before `size`."""
    size = min(size, offset + MAX_LINE_BYTES)
    while offset < size:
        chunk = files.pread(fd, min(CHUNK_BYTES, size - offset), offset)
        found = chunk.find(b"\n")
        if found >= 0:
            return offset + found + 1
        if not chunk:
            break
        offset += len(chunk)
    raise Spared("it became shorter while it was read, or has a line without end")


def _after_mark(fd: int, files: FileSystemPort) -> int:
    """Where the lines begin: after the mark of the last collapse, if there is one."""
    head = files.pread(fd, collapse_marker.LENGTH, 0)
    if collapse_marker.read_mark(head) is None:
        return 0
    return _line_end(fd, collapse_marker.LENGTH, files.fstat(fd).st_size, files)


def copy_aside(
    fd: int,
    pieces: Sequence[tuple[int, int]],
    dir_fd: int,
    archive: str,
    like: os.stat_result,
    files: FileSystemPort,
    stop: threading.Event,
) -> None:
    """Copies these pieces, from and to, into the archive's head. Raises Spared, OSError; then nothing is left of it."""
    part = archive + PART
    out = files.open(part, _CREATE, 0o600, dir_fd=dir_fd)
    try:
        try:
            for start, end in pieces:
                while start < end:
                    if stop.is_set():
                        raise Spared("stopping")
                    chunk = files.pread(fd, min(CHUNK_BYTES, end - start), start)
                    if not chunk:
                        raise Spared("it became shorter while it was read")
                    write_whole(files, out, chunk)
                    start += len(chunk)
            with contextlib.suppress(PermissionError):
                os.fchown(out, like.st_uid, like.st_gid)
            os.fchmod(out, stat.S_IMODE(like.st_mode) & 0o666)
            files.fsync(out)
        finally:
            files.close(out)
        files.rename_noreplace(part, archive + HEAD, source_dir=dir_fd, target_dir=dir_fd)
        files.fsync(dir_fd)
    except (OSError, Spared):
        for leftover in (part, archive + HEAD):
            with contextlib.suppress(OSError):
                files.unlink(leftover, dir_fd=dir_fd)
        raise


def _pwrite_whole(fd: int, data: bytes, offset: int, files: FileSystemPort) -> None:
    view = memoryview(data)
    while view:
        done = files.pwrite(fd, view, offset)  # type: ignore[arg-type]
        view, offset = view[done:], offset + done


def recover(dir_fd: int, head: str, files: FileSystemPort) -> str:
    """Handles a `.head` file that a crash left. Returns what was done, for the log.

    If the live file begins with this archive's mark, the collapse happened: the archive gets its name. If the live file
    still holds the archive's lines, a mark that was written is removed, and the copy is dropped. Otherwise the copy was
    made from another file. It is kept as an archive, because a doubled line is better than a lost one.
    """
    archive = head.removesuffix(HEAD)
    parsed = parse_archive(archive)
    if parsed is None:
        return f"left {head} alone: not an archive's name"
    name, stamp = parsed
    done = "kept as an archive: its file is another by now"
    try:
        fd = files.open(name, _LIVE, dir_fd=dir_fd)
    except OSError:
        fd = -1
    if fd >= 0:
        try:
            mark = collapse_marker.read_mark(files.pread(fd, collapse_marker.LENGTH, 0))
            if mark is not None and mark[0] == stamp_micros(stamp):
                done = "finished: the collapse had happened"
            elif _take_back(fd, dir_fd, head, stamp, files):
                files.unlink(head, dir_fd=dir_fd)
                files.fsync(dir_fd)
                return f"{archive}: undone, nothing had been removed from {name}"
        finally:
            files.close(fd)
    files.rename_noreplace(head, archive, source_dir=dir_fd, target_dir=dir_fd)
    files.fsync(dir_fd)
    return f"{archive}: {done}"


def _take_back(fd: int, dir_fd: int, head: str, stamp: str, files: FileSystemPort) -> bool:
    """Whether the live file holds all lines of the copy, after the bytes under the mark were written back."""
    copy = files.open(head, _READ, dir_fd=dir_fd)
    try:
        total = files.fstat(copy).st_size
        try:
            compress.refuse_endless(copy, total)
            start = _after_mark(fd, files)
        except (compress.NotCompressible, Spared):
            return False
        offset = 0
        while offset < total:
            ours = files.pread(copy, CHUNK_BYTES, offset)
            theirs = files.pread(fd, len(ours), start + offset)
            if ours != theirs:
                first = next((i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), len(theirs))
                return _rewrite(fd, copy, start, offset + first, total, stamp, files)
            offset += len(ours)
        return True
    finally:
        files.close(copy)


def _rewrite(fd: int, copy: int, start: int, first: int, total: int, stamp: str, files: FileSystemPort) -> bool:
    """Replaces this archive's mark near `first` by the lines it covers; False when there is no such mark.

    The mark may begin before the first difference, if the covered line happens to begin with the same bytes.
    """
    for back in range(min(first, collapse_marker.LENGTH) + 1):
        at = first - back
        mark = collapse_marker.read_mark(files.pread(fd, collapse_marker.LENGTH, start + at))
        if mark is not None and mark[0] == stamp_micros(stamp):
            covered = files.pread(copy, total - at, at)
            _pwrite_whole(fd, covered, start + at, files)
            files.fsync(fd)
            return True
    return False
