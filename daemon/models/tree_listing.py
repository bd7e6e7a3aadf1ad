"""Lists what lies at a path that a person named, for `layouts.recognise`. It reads names, links, and a few first bytes.

Directories are not entered through links, except the one that was named. Invariant: it lists at most MAX_LISTED entries
and MAX_LEVELS levels, whatever is there.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from ..system.safe_read import open_regular
from . import link
from .layouts import TreeListing

MAX_LISTED: Final = 20_000
MAX_LEVELS: Final = 6
"""~/.cache/huggingface leads over hub, models--x, snapshots and the revision to the files."""
_MAX_REVISION_BYTES: Final = 200
_TAR_MARK: Final = (257, b"ustar")
_HEAD_BYTES: Final = 512


def listed(path: Path, link_name: str = "current") -> TreeListing:
    """What lies there. `path` is absolute. Raises OSError when it cannot be read."""
    # Of a file only the directory: a cache of Hugging Face has links to files with other names.
    place = os.path.realpath(path) if os.path.isdir(path) else os.path.join(os.path.realpath(path.parent), path.name)
    try:
        mode = os.stat(place).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return TreeListing(str(path), "missing")
    if stat.S_ISREG(mode):
        with os.scandir(os.path.dirname(place)) as entries:
            beside = frozenset(entry.name for _, entry in zip(range(MAX_LISTED), entries, strict=False))
        return TreeListing(place, "file", beside, archive=_archive(place))
    if not stat.S_ISDIR(mode):
        return TreeListing(place, "other")
    files, broken, main = set[str](), set[str](), dict[str, str]()
    count = 0
    for relative, whole in _below(place, "", MAX_LEVELS):
        count += 1
        if count > MAX_LISTED:
            break
        (files if whole else broken).add(relative)
        if relative.endswith("/refs/main") or relative == "refs/main":
            main[relative.removesuffix("refs/main").rstrip("/")] = _revision(f"{place}/{relative}")
    named = ""
    with suppress(OSError):
        named = link.version_of(Path(place), os.readlink(f"{place}/{link_name}"))
    return TreeListing(
        place, "directory", frozenset(files), frozenset(broken), main=main, link=named, cut=count > MAX_LISTED
    )


def _below(directory: str, prefix: str, levels: int) -> Iterator[tuple[str, bool]]:
    """Paths of files, and whether each can be reached. What cannot be entered below the top is passed over."""
    inner: list[str] = []
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.is_symlink():
                try:
                    regular = entry.is_file()
                    if regular or not os.path.exists(entry.path):
                        yield prefix + entry.name, regular
                except OSError:
                    continue
            elif entry.is_dir():
                inner.append(entry.name)
            elif entry.is_file():
                yield prefix + entry.name, True
    for name in sorted(inner):
        if levels > 1 and name != ".git":
            with suppress(PermissionError, FileNotFoundError):
                yield from _below(f"{directory}/{name}", f"{prefix}{name}/", levels - 1)


def _archive(path: str) -> str:
    """The kind of an archive by its first bytes; "" when it is none."""
    with open_regular(path) as file:
        head = file.read(_HEAD_BYTES)
    if head.startswith(b"PK\x03\x04"):
        return "zip"
    at, mark = _TAR_MARK
    packed = head.startswith((b"\x1f\x8b", b"BZh"))
    return "tar" if packed or head[at : at + len(mark)] == mark else ""


def _revision(path: str) -> str:
    with suppress(OSError), open_regular(path) as file:
        return file.read(_MAX_REVISION_BYTES).decode("ascii", "replace").strip()
    return ""
