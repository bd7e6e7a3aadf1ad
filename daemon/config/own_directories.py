"""Checks whether only the daemon and root can change the daemon's directories; otherwise it must not trust their
content.

It reports, and changes nothing except to make missing directories. A directory that does not exist yet is no problem,
and neither is one that cannot be read: its use fails with the reason. Invariant: the owner is root or the daemon's
user, and no other user may write.
"""

from __future__ import annotations

import errno
import os
import pwd
import stat
from pathlib import Path
from typing import Final

from ..errors import ModelwardError
from ..system.safe_paths import open_directory
from .load import Config

MODE: Final = 0o750
"""The mode of directories that the daemon makes: its group may read."""


def require_own(config: Config) -> None:
    """Raises ModelwardError, with every directory that the daemon cannot trust and the command that helps."""
    found = problems(config, os.geteuid())
    if found:
        raise ModelwardError("cannot start: " + "; ".join(found))


def make(config: Config) -> list[str]:
    """Makes the missing ones. Returns a sentence for each that cannot be made and is not needed at once. Raises OSError
    for the runtime directory, which has the sockets.
    """
    control = config.control
    control.runtime_dir.mkdir(mode=MODE, parents=True, exist_ok=True)
    trouble = []
    for directory in (control.state_dir, control.cache_dir, control.state_dir / "jobs"):
        try:
            directory.mkdir(mode=MODE, parents=True, exist_ok=True)
        except OSError as e:
            trouble.append(f"cannot make {directory}: {e.strerror or e}; going on without")
    return trouble


def probable_user(config: Config) -> int:
    """The user that the daemon runs as, for a check without it: the owner of the state directory, else ours."""
    try:
        return config.control.state_dir.stat().st_uid
    except OSError:
        return os.geteuid()


def problems(config: Config, uid: int) -> list[str]:
    """One sentence for each directory that a daemon of this user cannot trust."""
    control = config.control
    places = {
        "control.runtime_dir": control.runtime_dir,
        "control.state_dir": control.state_dir,
        "control.cache_dir": control.cache_dir,
        "logs.dir": config.logs.dir,
    }
    return [f"{key}: {path} {why}" for key, path in places.items() if path and (why := _problem(path, uid))]


def _problem(path: Path, uid: int) -> str:
    try:
        fd = open_directory(str(path))
    except OSError as e:
        # Other reasons are reported when it is used.
        return f"cannot be trusted: {e.strerror}; name the directory itself" if e.errno == errno.ELOOP else ""
    try:
        found = os.fstat(fd)
        gid = os.getegid()
    finally:
        os.close(fd)
    inside = "or name a directory of its own in it"
    if found.st_uid not in (0, uid):
        return f"belongs to {_name(found.st_uid)}, and the daemon runs as {_name(uid)}; chown {_name(uid)} {path}"
    if found.st_mode & stat.S_IWOTH:
        return f"can be written by every user; chmod o-w {path}, {inside}"
    if found.st_mode & stat.S_IWGRP and found.st_gid not in {0, gid, *os.getgroups(), *_groups(uid)}:
        return f"can be written by group {found.st_gid}, which is not the daemon's; chmod g-w {path}, {inside}"
    return ""


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _groups(uid: int) -> list[int]:
    try:
        user = pwd.getpwuid(uid)
        return os.getgrouplist(user.pw_name, user.pw_gid)
    except (KeyError, OSError):
        return []
