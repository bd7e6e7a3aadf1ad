"""Decides which users may use the daemon's sockets and, from this machine, its panel, by the kernel's peer credentials.

The kernel has checked the mode of the socket file already. This check holds even when that mode was loosened.
"""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Mapping, Sequence
from pathlib import Path


def warning_of_root(uid: int, environ: Mapping[str, str]) -> str:
    """The warning for a daemon that runs as root without confinement by a service manager; "" otherwise."""
    if uid != 0 or environ.get("NOTIFY_SOCKET"):
        return ""
    return (
        "the daemon runs as root, without systemd: a user of its own that owns its directories is enough "
        "(docs/operating.md, Without systemd)"
    )


def operator(uid: int, socket_path: Path) -> bool:
    """Whether a user may do everything: as `allowed`, with its groups from the user database. May take long."""
    if uid in (0, os.geteuid()):
        return True
    try:
        user = pwd.getpwuid(uid)
        groups = os.getgrouplist(user.pw_name, user.pw_gid)
    except (OSError, KeyError):
        return False
    return allowed(uid, user.pw_gid, socket_path, groups)


def allowed(uid: int, gid: int, socket_path: Path, groups: Sequence[int] | None = None) -> bool:
    """Root, the daemon's own user, and members of the socket's group, which its file mode allows.

    `groups` are the peer's supplementary groups; for None the user database is read. For a thread: it may take long.
    """
    try:
        group = os.stat(socket_path).st_gid
    except OSError:
        group = -1
    return let_in(uid, gid, groups, group)


def let_in(uid: int, gid: int, groups: Sequence[int] | None, socket_group: int) -> bool:
    """As `allowed`, when the group of the socket's file is known; -1 while it is not.

    It reads no disk, except for a peer in so many groups that the kernel does not list them.
    """
    if uid in (0, os.geteuid()):
        return True
    if socket_group < 0:
        return False
    if gid == socket_group:
        return True
    if groups is not None:
        return socket_group in groups
    try:
        return pwd.getpwuid(uid).pw_name in grp.getgrgid(socket_group).gr_mem
    except (OSError, KeyError):
        return False
