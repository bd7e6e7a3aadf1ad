"""The paths that may not be swept: the system's trees, home directories, and the program itself.

Pure: only the text of a path counts. The check of the configuration and the sweep use the same function, so both accept
the same paths.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

_TOP: Final = "bin boot dev etc home lib lib32 lib64 media mnt opt proc root run sbin srv sys tmp usr var"
_INNER: Final = "usr/local var/backups var/cache var/lib var/log var/mail var/opt var/run var/spool var/tmp dev/shm"
_SYSTEM: Final = frozenset("/" + name for name in f"{_TOP} {_INNER}".split(" "))
_TREES: Final = (
    "bin boot dev etc lib lib32 lib64 proc sbin sys usr var/backups var/mail var/spool/cron var/lib/private "
    "var/lib/dpkg var/lib/apt var/lib/rpm var/lib/pacman var/lib/systemd var/lib/dbus var/lib/polkit-1 "
    "var/lib/docker var/lib/containerd var/lib/postgresql var/lib/mysql var/lib/ucf var/lib/pam var/lib/snapd "
    "var/log/apt var/log/audit var/log/installer var/log/journal var/log/private "
    "run/systemd run/udev run/dbus run/lock run/user run/log root/.ssh root/.gnupg"
)
_BELOW: Final = tuple(f"/{name}/" for name in _TREES.split())
_SHARED_MEMORY: Final = "/dev/shm/"
_HOMES: Final = "/home"
_PREFIXES: Final = {sys.prefix, sys.exec_prefix, sys.base_prefix}
PROGRAM: Final = (
    str(Path(__file__).resolve().parents[1]),
    *sorted(f"{prefix}/{part}" for prefix in _PREFIXES for part in ("bin", "lib", "lib64", "include", "share")),
)
"""Where this package and this Python are. Data of ours may lie in the same prefix."""


def refusal(path: str, *, home: str = "", program: Iterable[str] = PROGRAM) -> str:
    """Why a configured path may not be swept, by its text alone; "" when it may be."""
    if not path.startswith("/"):
        return "it is not an absolute path"
    parts = path.rstrip("/").split("/")[1:]
    if any(part in ("", ".", "..") for part in parts):
        return "it must be written plainly, without `.`, `..` or doubled slashes"
    plain = "/" + "/".join(parts)
    if plain in _SYSTEM or len(parts) < 2:
        return "it belongs to the system"
    if f"{plain}/".startswith(_BELOW) and not plain.startswith(_SHARED_MEMORY):
        return "it lies below a directory of the system"
    if len(parts) == 2 and plain.startswith(f"{_HOMES}/"):
        return "it is somebody's home directory"
    if home and home != "/" and (plain == home.rstrip("/") or home.startswith(plain + "/")):
        return "it is or holds our home directory"
    for place in program:
        if _meets(plain, place):
            return f"it is, holds or lies in {place}, where this program is"
    return ""


def _meets(path: str, place: str) -> bool:
    return f"{path}/".startswith(f"{place}/") or place.startswith(f"{path}/")
