"""Finds every directory of the daemon that its user cannot make or write, with the command that helps.

It reports, and changes nothing. A disk that is read-only may heal, and the daemon starts on it. A directory that the
user may not write, or whose name a file has, does not heal. Invariant: all of them are named at once.
"""

from __future__ import annotations

import os
import pwd
import shlex
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from msgspec import Struct

from .load import Config

NEEDED: Final = ("control.runtime_dir", "control.state_dir", "control.cache_dir")
"""Without them there is no start. Without a directory of logs, events go to standard error."""


class DirectoryProblem(Struct, frozen=True):
    """One directory. `passing`: the disk is at fault, and the daemon starts all the same."""

    key: str
    sentence: str
    passing: bool = False

    def __str__(self) -> str:
        return f"{self.key}: {self.sentence}"


def places(config: Config) -> dict[str, Path]:
    """The daemon's own directories by their keys."""
    control = config.control
    found = {
        "control.runtime_dir": control.runtime_dir,
        "control.state_dir": control.state_dir,
        "control.cache_dir": control.cache_dir,
    }
    return {**found, "logs.dir": config.logs.dir} if config.logs.dir else found


def unusable(config: Config, uid: int) -> list[DirectoryProblem]:
    """Every directory that a daemon of this user cannot use."""
    found = [(key, _why(path, uid)) for key, path in places(config).items()]
    return [DirectoryProblem(key, *why) for key, why in found if why[0]]


def missing_root(config: Config, uid: int) -> list[str]:
    """A sentence about a model root that is not there, which the daemon does not make."""
    root = config.models.root
    if _is_there(root):
        return []
    user, place = user_name(uid), shlex.quote(str(root))
    helps = f"as root: install -d -o {user} -m 0750 {place}; or name another directory"
    return [f"models.root: {root} is not there; {helps}"]


def prevent_start(found: Iterable[DirectoryProblem]) -> bool:
    """Whether the daemon does not start with these."""
    return any(problem.key in NEEDED and not problem.passing for problem in found)


def _why(path: Path, uid: int) -> tuple[str, bool]:
    """Why a directory cannot be used, "" when it can, and whether the disk is at fault."""
    nearest = next((place for place in (path, *path.parents) if _is_there(place)), Path("/"))
    there = nearest == path
    verb = "cannot be written" if there else "cannot be made"
    try:
        mode = os.stat(nearest).st_mode
    except OSError as e:
        return f"{path} {verb}: {nearest}: {e.strerror}; name another directory", False
    if not stat.S_ISDIR(mode):
        return f"{path} {verb}: {nearest} is no directory; name another directory, or move that away", False
    if os.statvfs(nearest).f_flag & os.ST_RDONLY:
        return f"{path} {verb}: its file system is read-only; name another directory", True
    if uid != os.geteuid():
        # Others may make it for that user, as systemd does: only what is there counts.
        return ("" if not there or _may_write(nearest, uid) else _forbidden(path, nearest, uid)), False
    if os.access(nearest, os.W_OK | os.X_OK, effective_ids=True):
        return "", False
    return _forbidden(path, nearest, uid), False


def _forbidden(path: Path, nearest: Path, uid: int) -> str:
    user, place = user_name(uid), shlex.quote(str(path))
    if nearest == path:
        return f"{path} cannot be written by {user}; as root: chown {user} {place}; or name another directory"
    helps = f"as root: install -d -o {user} -m 0750 {place}; or name another directory"
    return f"{path} cannot be made: {user} may not write {nearest}; {helps}"


def _is_there(path: Path) -> bool:
    """Also a link that leads nowhere, and what lies behind a directory that may not be entered is not."""
    try:
        os.lstat(path)
    except OSError:
        return False
    return True


def _may_write(path: Path, uid: int) -> bool:
    """By owner, group and mode; another user's access cannot be asked for."""
    if uid == 0:
        return True
    found = os.stat(path)
    if found.st_uid == uid:
        return found.st_mode & 0o300 == 0o300
    if found.st_gid in groups_of(uid):
        return found.st_mode & 0o030 == 0o030
    return found.st_mode & 0o003 == 0o003


def user_name(uid: int) -> str:
    """The user's name, or the number where there is none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def groups_of(uid: int) -> list[int]:
    """Every group of a user."""
    try:
        user = pwd.getpwuid(uid)
        return os.getgrouplist(user.pw_name, user.pw_gid)
    except (KeyError, OSError):
        return []
