"""The kind of file at a path, in words for messages. Pure."""

from __future__ import annotations

import stat
from typing import Final

_KINDS: Final = {
    stat.S_IFDIR: "a directory",
    stat.S_IFREG: "a file",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
}


def kind_of(mode: int) -> str:
    """The kind of a `st_mode`: "a directory", "a file", "a symbolic link", "a FIFO", "a socket", else "a device"."""
    return _KINDS.get(stat.S_IFMT(mode), "a device")
