"""Copies a version's files into the private directory and hashes the very bytes that it wrote there.

Copy-on-write where the file system supports it (FICLONE), else block by block. Blocks of zeros become holes, so that a
sparse file takes no more space in the copy. It follows no link out of the version (see safe_walk). Invariant: the
digest describes the copy; a source that changes during the copy raises Changed, never a mixed copy.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from ..shared.artifact import DIRECTORY_MODE, FILE_MODE, ArtifactFile
from .safe_walk import FileSeen, open_file

BLOCK_BYTES: Final = 1 << 20
_ZEROS: Final = bytes(BLOCK_BYTES)
_FICLONE: Final = 0x40049409


class Changed(Exception):
    """A file was modified, replaced or removed while it was copied; the text names it."""


def copy_files(root: int, files: Mapping[str, FileSeen], into: Path) -> dict[str, ArtifactFile]:
    """Copies every file of `files` from the directory descriptor `root` below `into`; returns sizes and SHA-256 of the
    copies.

    Raises Changed, BadTree when a name became something else, OSError with the file's name when it cannot be read or
    written.
    """
    copied: dict[str, ArtifactFile] = {}
    for name, seen in files.items():
        target = into / name
        for parent in reversed(Path(name).parents):
            (into / parent).mkdir(mode=DIRECTORY_MODE, exist_ok=True)
        try:
            copied[name] = _copy(root, name, seen, target)
        except OSError as e:
            raise OSError(e.errno, e.strerror, name) from e
    return copied


def _copy(root: int, name: str, seen: FileSeen, target: Path) -> ArtifactFile:
    try:
        source = open_file(root, name)
    except FileNotFoundError as e:
        raise Changed(f"{name} was removed") from e
    try:
        if FileSeen.of(os.fstat(source)) != seen:
            raise Changed(f"{name} was modified")
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        written = os.open(target, flags, FILE_MODE)  # nothing needs to be sealed later
        try:
            sha256 = _hash_of(written) if _cloned(source, written) else _copy_blocks(source, written, seen.bytes)
            if os.fstat(written).st_size != seen.bytes or FileSeen.of(os.fstat(source)) != seen:
                raise Changed(f"{name} was modified")
        finally:
            os.close(written)
    finally:
        os.close(source)
    return ArtifactFile(seen.bytes, sha256)


def _cloned(source: int, target: int) -> bool:
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError:  # another file system, or one that shares no blocks: copy instead
        return False
    return True


def _copy_blocks(source: int, target: int, limit: int) -> str:
    """Copies at most `limit` bytes and one block more (a file that grows is noticed, but not read to its end)."""
    hashed, total = hashlib.sha256(), 0
    while total <= limit and (block := os.read(source, BLOCK_BYTES)):
        hashed.update(block)
        total += len(block)
        if block == _ZEROS[: len(block)]:
            os.lseek(target, len(block), os.SEEK_CUR)
            continue
        view = memoryview(block)
        while view:
            view = view[os.write(target, view) :]
    os.ftruncate(target, total)
    return hashed.hexdigest()


def _hash_of(descriptor: int) -> str:
    hashed = hashlib.sha256()
    while block := os.read(descriptor, BLOCK_BYTES):
        hashed.update(block)
    return hashed.hexdigest()
