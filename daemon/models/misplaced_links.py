"""Finds links that were put into a version although they were meant for the model root, and words a remark on them.

`ln -sf NEW current` and `mv new_link current` go through `current` into the live version, and move nothing. It changes
nothing. Invariant: a link to something inside its own version is not reported.
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Final

from . import link

MAX_MISPLACED: Final = 10
"""In one version; any more are entries like others, and no version may hold such links."""


def meant(root: Path, version_fd: int, name: str) -> str:
    """The version that this link, directly in a version's directory, would name in `root`; "" for none."""
    try:
        target = os.readlink(name, dir_fd=version_fd)
    except OSError:
        return ""
    return "" if _leads_inside(version_fd, name, target) else link.version_of(root, target)


def found(root: Path, version: str) -> tuple[str, ...]:
    """The names of such links in a version."""
    try:
        fd = os.open(root / version, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return ()
    try:
        with os.scandir(fd) as entries:
            links = sorted(entry.name for entry in entries if entry.is_symlink())
        return tuple(name for name in links[:MAX_MISPLACED] if meant(root, fd, name))
    except OSError:
        return ()
    finally:
        os.close(fd)


def sentence(root: Path, link_name: str, version: str, name: str, to: str) -> str:
    """What happened, and the commands that help."""
    quoted = shlex.quote(to)
    target = shlex.quote(str(root / to)) if link_name.startswith("/") else quoted
    return (
        f"a link to {to} was put into {version} and moves nothing there: `ln -sf` and `mv` go through {link_name} into "
        f"the version that it names; `modelward activate {quoted}`, or `ln -sfn {target} {link_name}` in {root}, makes "
        f"it live; `rm {shlex.quote(str(root / version / name))}` removes the misplaced link"
    )


def _leads_inside(version_fd: int, name: str, target: str) -> bool:
    path = os.path.normpath(target)
    if os.path.isabs(path) or path == name or path.split("/")[0] == "..":
        return False
    try:
        os.stat(path, dir_fd=version_fd, follow_symlinks=False)
    except OSError:
        return False
    return True
