"""The directory that one child writes to: made for it below the artifact root, removed when nothing of it is kept.

A child may write nowhere else there. The name marks the directory as unfinished: what a killed daemon leaves is
recognised by it and removed at the next start. Invariant: each child gets a new, empty one.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

from .unfinished_artifacts import UNFINISHED_FORM

FOR_VALIDATOR: Final = ".tmp-validate-"
FOR_COMPILER: Final = UNFINISHED_FORM
_MODE: Final = 0o750


class NoDirectory(OSError):
    """No directory could be made for a child; the text is the reason."""


@asynccontextmanager
async def child_directory(root: Path, prefix: str) -> AsyncIterator[Path]:
    """A new directory below `root`, which is made when it is missing; gone afterwards, unless it was renamed.

    Raises NoDirectory.
    """
    directory = await asyncio.to_thread(_make, root, prefix)
    try:
        yield directory
    finally:
        await asyncio.to_thread(_discard, directory)


def _make(root: Path, prefix: str) -> Path:
    directory = root / f"{prefix}{os.getpid()}-{secrets.token_hex(4)}"
    try:
        root.mkdir(mode=_MODE, parents=True, exist_ok=True)
        directory.mkdir(mode=_MODE)
        _open_to_group(directory)
    except OSError as e:
        raise NoDirectory(f"cannot make the directory {directory}: {e.strerror}") from e
    return directory


def _open_to_group(directory: Path) -> None:
    """Gives it its mode whatever our umask took away: a child may change no mode. A group handed down is kept."""
    mode = directory.stat().st_mode & 0o7777
    if mode & 0o777 != _MODE:
        directory.chmod(mode & 0o7000 | _MODE)


def _discard(directory: Path) -> None:
    """Removes it as far as it can; what stays is swept by its name.

    First by a rename: what another thread still puts into its place is whole, or can't be found any more.
    """
    aside = directory.with_name(f"{directory.name}-gone")
    with suppress(OSError, RecursionError):  # kept; or a tree deeper than Python recurses, which no child of ours makes
        directory.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)
