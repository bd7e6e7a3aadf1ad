"""Decides which directories may be swept. It opens a root name by name from `/`, so that it follows no link.

It refuses what protected_paths.py names, paths that lead through a link, and directories of other owners. The result is
an open descriptor, so the directory that was checked is the one that is swept.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import Final

from ...config.protected_paths import refusal
from ...errors import Refused
from ..fs_port import FileSystemPort

_STEP: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def open_root(path: str, files: FileSystemPort) -> int:
    """A descriptor of the root. Raises Refused with the reason, FileNotFoundError when it does not exist (yet)."""
    because = refusal(path, home=os.path.expanduser("~"))
    if because:
        raise Refused(f"cannot sweep {path}: {because}; nothing was touched")
    fd = files.open("/", _STEP)
    walked = ""
    for name in path.strip("/").split("/"):
        walked += "/" + name
        try:
            child = files.open(name, _STEP, dir_fd=fd)
        except FileNotFoundError:
            raise
        except OSError as e:
            raise Refused(f"cannot sweep {path}: {_cause(walked, e)}; nothing was touched") from e
        finally:
            files.close(fd)
        fd = child
    found = files.fstat(fd)
    owner = os.geteuid()
    if found.st_uid != owner:
        files.close(fd)
        raise Refused(f"cannot sweep {path}: uid {found.st_uid} owns it and we are uid {owner}; nothing was touched")
    return fd


def _cause(walked: str, error: OSError) -> str:
    if error.errno in (errno.ELOOP, errno.ENOTDIR):
        try:
            if stat.S_ISLNK(os.lstat(walked).st_mode):
                return f"{walked} is a link; write the path it leads to"
        except OSError:
            return error.strerror or str(error)
        return f"{walked} is not a directory"
    return f"{walked}: {error.strerror}"
