"""The link that names the live version: reads it, and moves it in one atomic step.

The rename is the commit point of a rollout; after any failure the link is as before. It changes only a symbolic link,
never something else of that name, and makes links only to versions of this root. The link is given by its name in the
root, or by its path when it lies elsewhere.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

from ...worker.shared.durable_files import sync_directory
from ...worker.shared.file_kinds import kind_of
from ...worker.shared.volume_entries import DATA
from ..errors import Refused
from ..names import is_version_name
from .snapshot import (
    Dangling,
    LinkState,
    Missing,
    Names,
    NotALink,
    Outside,
    Unreadable,
)

_NO_WRITING: Final = (errno.EROFS, errno.EACCES, errno.EPERM)


class LinkFiles(Protocol):
    """The writing calls that a switch makes, so that tests can let any of them fail."""

    def symlink(self, target: str, path: Path) -> None: ...
    def rename(self, source: Path, target: Path) -> None: ...
    def unlink(self, path: Path) -> None: ...
    def sync_directory(self, path: Path) -> None: ...


class SystemFiles:
    """The system's."""

    def symlink(self, target: str, path: Path) -> None:
        os.symlink(target, path)

    def rename(self, source: Path, target: Path) -> None:
        os.rename(source, target)

    def unlink(self, path: Path) -> None:
        os.unlink(path)

    def sync_directory(self, path: Path) -> None:
        sync_directory(path)


def read(root: Path, link_name: str) -> LinkState:
    """Where the link leads, through any chain: to a directory directly under `root`, or what is wrong with it."""
    path = root / link_name  # which is the link's own path when that is absolute
    try:
        mode = os.lstat(path).st_mode
        if not stat.S_ISLNK(mode):
            return NotALink(kind_of(mode))
        target = os.readlink(path)
    except FileNotFoundError:
        return Missing()
    except OSError as e:
        return Unreadable(str(e.strerror))
    try:
        resolved = Path(os.path.realpath(path, strict=True))
        return _resolved(root, target, resolved)
    except OSError as e:
        if e.errno == errno.ELOOP:
            return Dangling(target, "it is a loop")
        if e.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG):
            return Dangling(target)
        return Unreadable(f"{e.strerror}: {target!r}")


def version_of(root: Path, target: str) -> str:
    """The version that a link with this target names when it lies in `root`; "" for none."""
    try:
        state = _resolved(root, target, Path(os.path.realpath(root / target, strict=True)))
    except (OSError, ValueError):
        return ""
    return state.version if isinstance(state, Names) else ""


def switch(root: Path, link_name: str, target: str, *, files: LinkFiles | None = None) -> None:
    """Makes the link name `target`, durably. Raises Refused, and then the link is as before.

    In the root the link is relative, so that the root can be moved or mounted elsewhere as a whole. A link that names
    the target already is left as it is where nothing can be written: another program moved it.
    """
    files = files or SystemFiles()
    path, told = root / link_name, f"cannot make {link_name} name {target}"
    before = _check(root, link_name, target, told)
    _remove_leftovers(path, files)
    moved = False
    try:
        _put(path, target if path.parent == root else str(root / target), files)
        moved = True
        files.sync_directory(path.parent)
    except OSError as e:
        if not moved and e.errno in _NO_WRITING and read(root, link_name) == Names(target):
            return
        kept = _undo(path, before, files) if moved else ""
        raise Refused(f"{told}: {e.strerror}; {kept or 'it is as it was'}") from e


def is_version_directory(root: Path, name: str) -> bool:
    """Whether this entry of the root is a directory, also one that Kubernetes projects. Raises OSError."""
    mode = os.lstat(root / name).st_mode
    if stat.S_ISLNK(mode) and os.readlink(root / name) == f"{DATA}/{name}":
        mode = os.stat(root / name).st_mode
    return stat.S_ISDIR(mode)


def _resolved(root: Path, target: str, resolved: Path) -> LinkState:
    above = resolved.parent
    if above.name.startswith("..") and os.path.realpath(root / DATA) == str(above):
        above = above.parent  # in the content of a projected volume, which the root is
    parent, own = os.stat(above), os.stat(root)
    status = os.stat(resolved)
    if (parent.st_dev, parent.st_ino) != (own.st_dev, own.st_ino):
        return Outside(target, "that is not directly in the model root")
    if not stat.S_ISDIR(status.st_mode):
        return Outside(target, f"that is {kind_of(status.st_mode)}, not a directory")
    if not is_version_name(resolved.name):
        return Outside(target, "that is not the name of a version")
    return Names(resolved.name)


def _check(root: Path, link_name: str, target: str, told: str) -> str:
    """The target of the link now, "" when there is none. Raises Refused for a switch that is not allowed."""
    try:
        if not is_version_name(target) or target == link_name or not is_version_directory(root, target):
            raise Refused(f"{told}: that is no version; it is as it was")
        mode = os.lstat(root / link_name).st_mode
        if not stat.S_ISLNK(mode):
            kind = kind_of(mode)
            raise Refused(f"{told}: it is {kind}, not a symbolic link; it was not touched")
        return os.readlink(root / link_name)
    except FileNotFoundError as e:
        if e.filename == str(root / link_name):
            return ""
        raise Refused(f"{told}: {e.strerror}; it is as it was") from e
    except OSError as e:
        raise Refused(f"{told}: {e.strerror}; it is as it was") from e


def _put(path: Path, target: str, files: LinkFiles) -> None:
    aside = path.parent / f".{path.name}.{secrets.token_hex(4)}"
    files.symlink(target, aside)
    try:
        files.rename(aside, path)
    except OSError:
        with suppress(OSError):  # the next switch removes it
            files.unlink(aside)
        raise


def _undo(path: Path, before: str, files: LinkFiles) -> str:
    """Takes back a move that may not be durable; when that fails too, it reports where the link leads."""
    try:
        if before:
            _put(path, before, files)
        else:
            files.unlink(path)
    except OSError as e:
        return f"nor could it be put back ({e.strerror}): it names the new version, perhaps not durably"
    return ""


def _remove_leftovers(path: Path, files: LinkFiles) -> None:
    """Links of ours from a switch that was cut short by a crash."""
    ours = re.compile(re.escape(f".{path.name}.") + "[0-9a-f]{8}")
    with suppress(OSError):  # not worth failing a rollout for
        with os.scandir(path.parent) as entries:
            found = [e.name for e in entries if ours.fullmatch(e.name) and e.is_symlink()]
        for name in found:
            files.unlink(path.parent / name)
