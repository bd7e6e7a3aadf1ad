"""Which directories may be swept at all. Opens a root name by name from `/`, so that no link is followed on the way.

Refused: relative paths, `/`, the system's own directories, anything reached through a link, other owners, and our own
home. The answer is an open descriptor: what was checked is what is swept.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Final

from ..errors import Refused
from .files import Files

_TOP: Final = "bin boot dev etc home lib lib32 lib64 media mnt opt proc root run sbin srv sys tmp usr var"
_INNER: Final = "usr/local var/cache var/lib var/log var/mail var/run var/spool var/tmp"
_SYSTEM: Final = frozenset("/" + name for name in f"{_TOP} {_INNER}".split(" "))
_BELOW: Final = ("/bin/", "/boot/", "/dev/", "/etc/", "/lib/", "/lib64/", "/proc/", "/sbin/", "/sys/", "/usr/")
_SHARED_MEMORY: Final = "/dev/shm/"
_STEP: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def refusal(path: str, *, home: str = "") -> str:
    """Why a configured path may not be swept, by its words alone; "" when it may be looked at. Pure."""
    if not path.startswith("/"):
        return "it is not an absolute path"
    parts = path.rstrip("/").split("/")[1:]
    if any(part in ("", ".", "..") for part in parts):
        return "it must be written plainly, without `.`, `..` or doubled slashes"
    plain = "/" + "/".join(parts)
    if plain in _SYSTEM or len(parts) < 2:
        return "it belongs to the system"
    if plain.startswith(_BELOW) and not plain.startswith(_SHARED_MEMORY):
        return "it lies below a directory of the system"
    if home and home != "/" and (plain == home.rstrip("/") or home.startswith(plain + "/")):
        return "it is or holds our home directory"
    return ""


def open_root(path: str, files: Files) -> int:
    """A descriptor of the root. Raises Refused with the reason, FileNotFoundError when it does not exist (yet)."""
    because = refusal(path, home=str(Path.home()))
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
