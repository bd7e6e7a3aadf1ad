"""Recognises the entries that a kind of volume puts beside files, and that are no part of a version.

A volume that Kubernetes projects (ConfigMap, Secret, projected) has a link `..data` to a directory beside it, which one
rename replaces. Every other entry is a link through `..data`. NFS keeps a file that was deleted while it was open as
`.nfs…`. It reads names and links, follows none, and changes nothing.
"""

from __future__ import annotations

import os
import re
import stat
from typing import Final

DATA: Final = "..data"
_SILLY: Final = re.compile(r"\.nfs[0-9a-f]{24}")


def content_of(directory: int) -> str:
    """The name of the directory that `..data` in this directory leads to; "" when this is no projected volume."""
    try:
        target = os.readlink(DATA, dir_fd=directory)
        if not target.startswith("..") or target == ".." or "/" in target:
            return ""
        found = os.stat(target, dir_fd=directory, follow_symlinks=False)
    except OSError:
        return ""
    return target if stat.S_ISDIR(found.st_mode) else ""


def leads_into_data(directory: int, name: str) -> bool:
    """Whether this entry of a projected volume is a link to the entry of the same name in its content."""
    try:
        return os.readlink(name, dir_fd=directory) == f"{DATA}/{name}"
    except OSError:
        return False


def is_of_volume(name: str) -> bool:
    """Whether an entry of a projected volume is the volume's own: `..data` and what it leads to, now or before."""
    return name.startswith("..")


def is_deleted_on_nfs(name: str) -> bool:
    """Whether a file was deleted, and NFS keeps it under this name until the last program closes it."""
    return _SILLY.fullmatch(name) is not None
