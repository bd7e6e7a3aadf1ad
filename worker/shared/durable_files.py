"""Writes durable files: beside their place, synced, renamed, the directory synced. For the daemon and for workers."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def replace_file(path: Path, content: bytes, mode: int = 0o640, *, beside: Path | None = None) -> None:
    """Puts `content` at `path`, whole or not at all, even after a power cut.

    Only one thread may write a given file, unless each writes first to a name of its own, `beside`. Raises OSError;
    then the old file is intact. If only the last sync failed, the new file exists but may not survive a power cut.
    """
    if beside is None:
        beside = path.with_name(f".{path.name}.tmp")  # always the same name: what a crash left is found again
        with suppress(FileNotFoundError):
            beside.unlink()
    fd = _open_new(beside, mode)
    try:
        _fill(fd, content)
        os.replace(beside, path)
    except OSError:
        with suppress(OSError):
            beside.unlink()
        raise
    sync_directory(path.parent)


def write_new(path: Path, content: bytes, mode: int) -> None:
    """A new file with its content synced; its name is not durable yet. Raises OSError; then a part of it may be
    there.
    """
    _fill(_open_new(path, mode), content)


def _open_new(path: Path, mode: int) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode)


def _fill(fd: int, content: bytes) -> None:
    with open(fd, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync_directory(path: Path) -> None:
    """Makes renames in a directory durable. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
