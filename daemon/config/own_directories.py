"""Checks whether only the daemon and root can change the daemon's directories; otherwise it must not trust their
content.

It reports, and changes nothing except to make missing directories. Whether they can be made and written is found by
`usable_directories`. Invariant: the owner is root or the daemon's user, and no other user may write.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Final

from ..errors import ModelwardError
from ..system.safe_paths import open_directory
from .load import Config
from .usable_directories import groups_of, missing_root, places, prevent_start, unusable, user_name

MODE: Final = 0o750
"""The mode of directories that the daemon makes: its group may read."""


def require_own(config: Config) -> list[str]:
    """Raises ModelwardError, with every directory that the daemon cannot trust or use and the command that helps, one
    on a line. Returns a sentence for each that it cannot use now and starts without.
    """
    found, remarks = refused_and_borne(config, os.geteuid())
    if len(found) == 1:
        raise ModelwardError(f"cannot start: {found[0]}")
    if found:
        raise ModelwardError("\n".join((f"cannot start: {len(found)} directories cannot be used", *found)))
    return remarks


def refused_and_borne(config: Config, uid: int, *, made_by_others: Collection[str] = ()) -> tuple[list[str], list[str]]:
    """A sentence for each directory that keeps a daemon of this user from starting, and for each that does not.

    `made_by_others` are keys of directories that are made before it starts.
    """
    found = problems(config, uid)
    known = {sentence.partition(":")[0] for sentence in found}
    unused = [each for each in unusable(config, uid) if each.key not in known and each.key not in made_by_others]
    sentences = [str(each) for each in unused]
    if not found and not prevent_start(unused):
        return [], sentences
    # A root that is missing prevents no start. Where other directories do, it is the next one that is missed.
    return [*found, *sentences, *(missing_root(config, uid) if sentences else ())], []


def make(config: Config, *, model_root: bool = False) -> list[str]:
    """Makes the missing ones. Returns a sentence for each that cannot be made and is not needed at once. Raises OSError
    for the runtime directory, which has the sockets.

    With `model_root` also that one: in a container a place without a directory is none that is not mounted yet.
    """
    control = config.control
    control.runtime_dir.mkdir(mode=MODE, parents=True, exist_ok=True)
    trouble = []
    if model_root:
        with suppress(OSError):  # it is reported as absent, with the reason
            config.models.root.mkdir(mode=MODE, exist_ok=True)
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
    return [f"{key}: {path} {why}" for key, path in places(config).items() if (why := _problem(path, uid))]


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
        user, owner = user_name(uid), user_name(found.st_uid)
        return f"belongs to {owner}, and the daemon runs as {user}; chown {user} {path}"
    if found.st_mode & stat.S_IWOTH:
        return f"can be written by every user; chmod o-w {path}, {inside}"
    if found.st_mode & stat.S_IWGRP and found.st_gid not in {0, gid, *os.getgroups(), *groups_of(uid)}:
        return f"can be written by group {found.st_gid}, which is not the daemon's; chmod g-w {path}, {inside}"
    return ""
