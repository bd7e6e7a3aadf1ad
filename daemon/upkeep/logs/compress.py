"""Compresses one archive: writes beside it, syncs, renames, and only then unlinks the plain file.

It refuses an archive that any process has open for writing (it asks the kernel by a lease). So a writer that has not
reopened loses nothing. It also refuses files with holes and files over MAX_BYTES: those are no logs, and reading one
takes hours. A crash leaves at most a `.part` file or both forms, which `settle_pair` handles.
"""

from __future__ import annotations

import contextlib
import fcntl
import gzip
import importlib
import io
import os
import stat
import threading
import zlib
from collections.abc import Callable
from typing import Any, Final

from ...units import size
from ..disk import reasons
from ..fs_port import FileSystemPort, write_whole
from ..open_files import held_by_nobody
from .rotation_policy import PART

CHUNK_BYTES: Final = 256 * 1024
MAX_BYTES: Final = 64 << 30
ENDINGS: Final = {"gzip": ".gz", "zstd": ".zst"}
_LEAST_GZIP: Final = 18
_ZSTD_HEAD: Final = 18
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class NotYet(Exception):
    """The archive stays uncompressed for now; the text gives the reason. Nothing was changed."""


class NotCompressible(NotYet):
    """The archive stays uncompressed for good: rotation does not leave such files."""


def available(method: str) -> str:
    """The method to use: gzip instead of zstd where the zstandard package is missing."""
    if method != "zstd":
        return method
    return "zstd" if _zstandard() is not None else "gzip"


def _zstandard() -> Any:
    """The optional package, or None."""
    try:
        return importlib.import_module("zstandard")
    except ImportError:
        return None


def unreadable() -> tuple[type[Exception], ...]:
    """The exceptions that readers raise for bytes that are no archive."""
    found = _zstandard()
    return OSError, EOFError, zlib.error, *((found.ZstdError,) if found is not None else ())


def _compressor(method: str, size_bytes: int) -> tuple[Callable[[bytes], bytes], Callable[[], bytes]]:
    """A compressor for exactly this many bytes; it writes the number into the archive."""
    if method == "zstd":
        z = _zstandard().ZstdCompressor(level=3, write_checksum=True).compressobj(size=size_bytes)
        return z.compress, z.flush
    g = zlib.compressobj(6, zlib.DEFLATED, 31)
    return g.compress, g.flush


def pack(dir_fd: int, name: str, method: str, files: FileSystemPort, stop: threading.Event) -> str:
    """Compresses the archive `name` and returns the new name. Raises NotYet, or OSError with nothing changed."""
    fd = files.open(name, _READ, dir_fd=dir_fd)
    try:
        before = files.fstat(fd)
        if not stat.S_ISREG(before.st_mode) or before.st_nlink != 1:
            raise NotYet("not a regular file with one name")
        refuse_endless(fd, before.st_size)
        _refuse_writers(fd, files)
        packed = name + ENDINGS[method]
        part = packed + PART
        out = files.open(part, _CREATE, 0o600, dir_fd=dir_fd)
        try:
            try:
                _copy(fd, before.st_size, out, method, files, stop)
                _dress(out, before, files)
                files.fsync(out)
            finally:
                files.close(out)
            _refuse_writers(fd, files)
            if files.fstat(fd).st_size != before.st_size:
                raise NotYet("it grew while it was compressed")
            files.rename_noreplace(part, packed, source_dir=dir_fd, target_dir=dir_fd)
        except (OSError, NotYet):
            with contextlib.suppress(OSError):
                files.unlink(part, dir_fd=dir_fd)
            raise
        files.fsync(dir_fd)
        with contextlib.suppress(FileNotFoundError):  # rotation dropped it meanwhile
            files.unlink(name, dir_fd=dir_fd)
    finally:
        files.close(fd)
    return packed


def refuse_endless(fd: int, size_bytes: int, most_bytes: int = MAX_BYTES) -> None:
    """Raises NotCompressible for a file that has holes or is larger than `most_bytes`."""
    if size_bytes and os.lseek(fd, 0, os.SEEK_HOLE) < size_bytes:
        raise NotCompressible(f"it has holes: of {size(size_bytes)} it holds {size(os.fstat(fd).st_blocks * 512)}")
    if size_bytes > most_bytes:
        raise NotCompressible(f"it has {size(size_bytes)}, at most {size(most_bytes)} are read")
    os.lseek(fd, 0, os.SEEK_SET)


def _refuse_writers(fd: int, files: FileSystemPort) -> None:
    held = held_by_nobody(fd, files, lease=fcntl.F_RDLCK)
    with contextlib.suppress(OSError):
        files.control(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    if held == reasons.IN_USE:
        raise NotYet("a process still has it open for writing")
    if held:
        raise NotYet("it cannot be shown that no process writes to it")


def _copy(fd: int, left: int, out: int, method: str, files: FileSystemPort, stop: threading.Event) -> None:
    feed, finish = _compressor(method, left)
    while left > 0:  # a file that grows is not read further; the caller sees its size
        if stop.is_set():
            raise NotYet("stopping")
        chunk = files.read(fd, min(left, CHUNK_BYTES))
        if not chunk:
            raise NotYet("it was cut while it was compressed")
        left -= len(chunk)
        write_whole(files, out, feed(chunk))
    write_whole(files, out, finish())


def _dress(out: int, like: os.stat_result, files: FileSystemPort) -> None:
    """Sets mode, owner and times as on the plain archive, by descriptor."""
    with contextlib.suppress(PermissionError):
        os.fchown(out, like.st_uid, like.st_gid)
    os.fchmod(out, stat.S_IMODE(like.st_mode) & 0o666)
    files.utime(out, ns=(like.st_atime_ns, like.st_mtime_ns))


def settle_pair(
    dir_fd: int, name: str, packed: str, files: FileSystemPort, stop: threading.Event, most_bytes: int = MAX_BYTES
) -> bool:
    """Handles an archive that exists in both forms: unlinks the plain one when the other holds exactly its bytes.

    Raises NotYet when that cannot be found out (NotCompressible: never).
    """
    if _unpacked_equals(dir_fd, name, packed, files, stop, most_bytes):
        files.unlink(name, dir_fd=dir_fd)
        return True
    return False


def _unpacked_equals(
    dir_fd: int, name: str, packed: str, files: FileSystemPort, stop: threading.Event, most_bytes: int
) -> bool:
    plain_fd = files.open(name, _READ, dir_fd=dir_fd)
    packed_fd = files.open(packed, _READ, dir_fd=dir_fd)
    try:
        with contextlib.ExitStack() as stack:
            stack.callback(files.close, plain_fd)
            stack.callback(files.close, packed_fd)
            refuse_endless(plain_fd, files.fstat(plain_fd).st_size, most_bytes)
            plain = stack.enter_context(os.fdopen(os.dup(plain_fd), "rb"))
            reader = stack.enter_context(open_packed(os.dup(packed_fd), packed))
            while True:
                if stop.is_set():
                    raise NotYet("stopping")
                a, b = plain.read(CHUNK_BYTES), _read_full(reader, CHUNK_BYTES)
                if a != b:
                    return False
                if not a:
                    return True
    except unreadable():
        return False


def open_packed(fd: int, name: str) -> Any:
    """A binary reader of an archive's content, by the ending of its name. It closes the descriptor."""
    raw = io.FileIO(fd)
    if name.endswith(".gz"):
        reader = gzip.GzipFile(fileobj=raw)
        reader.myfileobj = raw  # closing the reader then closes the file too
        return reader
    if name.endswith(".zst"):
        zstandard = _zstandard()
        if zstandard is None:
            raw.close()
            raise OSError(f"cannot read {name}: the zstandard package is not installed")
        return zstandard.ZstdDecompressor().stream_reader(raw, closefd=True)
    return raw


def length(dir_fd: int, name: str, files: FileSystemPort) -> int | None:
    """The uncompressed bytes of an archive, as its header gives them; None where it does not. gzip counts
    modulo 4 GiB.
    """
    try:
        fd = files.open(name, _READ, dir_fd=dir_fd)
    except OSError:
        return None
    try:
        size_bytes = files.fstat(fd).st_size
        if name.endswith(".gz"):
            return int.from_bytes(files.pread(fd, 4, size_bytes - 4), "little") if size_bytes >= _LEAST_GZIP else None
        if name.endswith(".zst"):
            return _zstd_length(files.pread(fd, _ZSTD_HEAD, 0))
        return size_bytes
    except OSError:
        return None
    finally:
        files.close(fd)


def _zstd_length(head: bytes) -> int | None:
    zstandard = _zstandard()
    if zstandard is None:
        return None
    try:
        found: int = zstandard.frame_content_size(head)
    except zstandard.ZstdError:
        return None
    return found if found >= 0 else None


def _read_full(reader: Any, count: int) -> bytes:
    found = bytearray()
    while len(found) < count:
        chunk = reader.read(count - len(found))
        if not chunk:
            break
        found += chunk
    return bytes(found)
