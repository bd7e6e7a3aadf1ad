"""Unpacks a tar or zip archive that may mean harm into a directory of ours; to be used on a thread.

Only files and directories are made, never a link, a device or another owner's file, and only below that directory. What
comes out is counted as it comes: sizes that an archive claims are not believed. A read of the archive's own tables is
bounded, so that no header can take the memory. Raises Refused with the reason; then a part may be there.
"""

from __future__ import annotations

import bz2
import gzip
import os
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import IO, Any, Final

from ..errors import Refused
from .upload_rules import MAX_MEMBERS, member_path

PIECE_BYTES: Final = 1 << 20
MAX_HEADER_BYTES: Final = 256 << 10
"""Of one member of a tar file."""
MAX_TABLE_BYTES: Final = 4 << 20
"""The directory of a zip file."""
MAX_REST_BYTES: Final = 64 << 20
"""After the end of a tar file: what fills its last record."""
BLOCK_BYTES: Final = 512
MACOS: Final = "__MACOSX"
"""Where macOS puts its notes about the files of a zip; they are no part of a version."""
_DAMAGED: Final = (
    tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, ValueError, OverflowError, NotImplementedError,
    RecursionError, RuntimeError, KeyError, IndexError, MemoryError,
)  # fmt: skip
_ZIP_METHODS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def unpack(
    archive: IO[bytes],
    kind: str,
    into: int,
    *,
    cannot: str,
    may_write: Callable[[int], None],
    most: int = MAX_MEMBERS,
) -> int:
    """Unpacks into the directory of the descriptor `into`; how many files.

    `may_write(bytes)` is asked before each piece is written, and with 0 before each piece that is only read. It raises
    to end it. Raises Refused and OSError.
    """
    try:
        members = _zip(archive, cannot, most) if kind == "zip" else _tar(archive, cannot, most, may_write)
        files = 0
        for path, content in members:
            if content is None:
                _directory(into, path, cannot)
            else:
                _file(into, path, content, may_write, cannot)
                files += 1
        return files
    except OSError as e:
        if e.errno is None:  # gzip and bz2 raise it for what is no archive
            raise Refused(f"{cannot}: the archive is damaged: {e}") from e
        raise
    except _DAMAGED as e:
        raise Refused(f"{cannot}: the archive is damaged: {str(e)[:200] or type(e).__name__}") from e


class ForwardReads:
    """A tar file that is read once from its beginning to its end; seeks forward by reading.

    What is read between `head` and `content` are headers: all of them together are bounded.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._at = file, 0
        self._left = MAX_HEADER_BYTES
        self._last = b""

    def head(self) -> None:
        """A member's headers come next."""
        self._left = MAX_HEADER_BYTES

    def content(self) -> None:
        """What is read next is what was asked for."""
        self._left = -1

    def read(self, size: int) -> bytes:
        if not 0 <= size <= PIECE_BYTES or 0 <= self._left < size:
            raise ValueError("its headers are too large")
        if self._left >= 0:
            self._left -= size
        self._last = self._take(size)
        return self._last

    def ended(self) -> bool:
        """Whether the block that was read last marks the end of a tar file."""
        return self._last == bytes(BLOCK_BYTES)

    def rest(self, may_go_on: Callable[[], None]) -> None:
        """Reads to the end, where a packed file has its checksum. Raises ValueError when much follows."""
        left = MAX_REST_BYTES
        while left >= 0:
            may_go_on()
            if not (data := self._take(PIECE_BYTES)):
                return
            left -= len(data)
        raise ValueError(f"more than {MAX_REST_BYTES >> 20} MiB follow its end")

    def tell(self) -> int:
        return self._at

    def seek(self, to: int) -> int:
        if to < self._at:
            raise ValueError("it does not go forward")
        while self._at < to and self._take(min(PIECE_BYTES, to - self._at)):
            pass
        return self._at

    def _take(self, size: int) -> bytes:
        data = self._file.read(size)
        self._at += len(data)
        return data


class BoundedReads:
    """A file of which one read is bounded."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.seek, self.tell, self.close = file.seek, file.tell, file.close

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if size > MAX_TABLE_BYTES:
            raise ValueError("one of its tables is too large")
        data = self._file.read(size if size >= 0 else MAX_TABLE_BYTES + 1)
        if len(data) > MAX_TABLE_BYTES:
            raise ValueError("one of its tables is too large")
        return data


def _tar(
    archive: IO[bytes], cannot: str, most: int, may_write: Callable[[int], None]
) -> Iterator[tuple[str, IO[bytes] | None]]:
    head = archive.read(3)
    archive.seek(0)
    opened: Any = archive
    if head.startswith(b"\x1f\x8b"):
        opened = gzip.GzipFile(fileobj=archive, mode="rb")
    elif head == b"BZh":
        opened = bz2.BZ2File(archive, "rb")
    source = ForwardReads(opened)
    with tarfile.open(fileobj=source, mode="r:") as tar:  # type: ignore[call-overload]  # these methods are enough
        for _ in range(most):
            source.head()
            if (member := tar.next()) is None:
                if not source.ended():  # cut between two members, or the header of one is damaged
                    raise ValueError("it has no end")
                source.rest(lambda: may_write(0))
                return
            source.content()
            if member.isdir() and not member.name.strip("./"):
                continue  # the top itself
            path = member_path(member.name.rstrip("/"), cannot)
            if member.isdir():
                yield path, None
                continue
            content = tar.extractfile(member) if member.isreg() and not member.issparse() else None
            if content is None:
                raise Refused(f"{cannot}: {member.name[:200]!r} in the archive is no file and no directory")
            yield path, content
        raise Refused(f"{cannot}: the archive has more than {most} entries")


def _zip(archive: IO[bytes], cannot: str, most: int) -> Iterator[tuple[str, IO[bytes] | None]]:
    source: Any = BoundedReads(archive)
    with zipfile.ZipFile(source) as found:
        if len(found.infolist()) > most:
            raise Refused(f"{cannot}: the archive has more than {most} entries")
        for member in found.infolist():
            if member.filename.partition("/")[0] == MACOS:
                continue
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise Refused(f"{cannot}: {member.filename[:200]!r} in the archive is no file and no directory")
            if member.flag_bits & 1 or member.compress_type not in _ZIP_METHODS:
                raise Refused(f"{cannot}: {member.filename[:200]!r} is encrypted, or packed by a rare method")
            if member.is_dir():
                yield member_path(member.filename.rstrip("/"), cannot), None
                continue
            with found.open(member) as content:
                yield member_path(member.filename, cannot), content


def _directory(into: int, path: str, cannot: str) -> None:
    """Makes a directory and those above it, all of them ours."""
    names = path.split("/")
    for depth in range(1, len(names) + 1):
        above = "/".join(names[:depth])
        try:
            os.mkdir(above, 0o750, dir_fd=into)
        except FileExistsError as e:
            if not stat.S_ISDIR(os.stat(above, dir_fd=into, follow_symlinks=False).st_mode):
                raise _twice(above, cannot) from e


def _twice(path: str, cannot: str) -> Refused:
    return Refused(f"{cannot}: {path[:200]!r} is in the archive twice")


def _file(into: int, path: str, content: IO[bytes], may_write: Callable[[int], None], cannot: str) -> None:
    if "/" in path:
        _directory(into, path.rpartition("/")[0], cannot)
    try:
        fd = os.open(path, _NEW, 0o640, dir_fd=into)
    except FileExistsError as e:
        raise _twice(path, cannot) from e
    with open(fd, "wb", buffering=0) as file:
        while piece := content.read(PIECE_BYTES):
            may_write(len(piece))
            view = memoryview(piece)
            while view:
                view = view[file.write(view) :]
        os.fsync(file.fileno())
