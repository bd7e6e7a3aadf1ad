"""Opens configured paths so that no other user decides where they lead.

It walks name by name from `/` by descriptor. It follows a link only where root or our own user alone can have put it
there. Any other link raises OSError (ELOOP) that names the link and its owner. It returns an open descriptor: what was
checked is what is used, even after a rename. It changes nothing.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from typing import Final

Open = Callable[..., int]
MAX_LINKS: Final = 40
"""The same as the kernel's limit for one path."""
_STEP: Final = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def open_directory(path: str, *, opener: Open = os.open, last_link: bool = True) -> int:
    """A descriptor of the directory at an absolute path, for reading. Without `last_link` the last name may not be a
    link.

    Raises OSError: ELOOP for a link that is not followed, ENOTDIR for a file of another kind, and errors of the system.
    """
    at = _walk(path, opener, last_link)
    try:
        return opener(".", _DIRECTORY, dir_fd=at)
    except OSError as e:
        raise OSError(e.errno, e.strerror, path) from e
    finally:
        os.close(at)


def open_file(path: str, flags: int, *, opener: Open = os.open) -> int:
    """A descriptor of the file at an absolute path; the last name is never followed. Raises OSError as above."""
    parent, _, name = path.rpartition("/")
    directory = _walk(parent or "/", opener, last_link=True)
    try:
        return opener(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    finally:
        os.close(directory)


def only_ours_may_change(status: os.stat_result) -> bool:
    """Whether only root and our own user can change which names a directory holds."""
    if status.st_uid not in (0, os.geteuid()) or status.st_mode & stat.S_IWOTH:
        return False
    return not status.st_mode & stat.S_IWGRP or status.st_gid in (0, os.getegid(), *os.getgroups())


def _walk(path: str, opener: Open, last_link: bool) -> int:
    """An O_PATH descriptor of what `path` leads to."""
    if not path.startswith("/"):
        raise OSError(errno.EINVAL, "it is not an absolute path", path)
    pending, links, walked = _names(path), 0, ""
    at = opener("/", _STEP | os.O_DIRECTORY)
    try:
        while pending:
            name = pending.pop()
            here = os.fstat(at)
            if name == ".." and not only_ours_may_change(here):
                raise OSError(errno.ELOOP, f"it goes up from {walked or '/'}, which another user can move", path)
            child = opener(name, _STEP, dir_fd=at)
            walked += "/" + name
            found = os.fstat(child)
            if not stat.S_ISLNK(found.st_mode):
                os.close(at)
                at = child
                continue
            links += 1
            try:
                target = _target(child, here, found, walked, path, followed=last_link or bool(pending))
            finally:
                os.close(child)
            if links > MAX_LINKS:
                raise OSError(errno.ELOOP, "it has too many links", path)
            if target.startswith("/"):
                os.close(at)
                at, walked = opener("/", _STEP | os.O_DIRECTORY), ""
            else:
                walked = walked.rpartition("/")[0]
            pending += _names(target)
    except BaseException:
        os.close(at)
        raise
    return at


def _target(link: int, here: os.stat_result, found: os.stat_result, walked: str, path: str, *, followed: bool) -> str:
    """The target of a link, relative to `here`. Raises OSError when it may not be followed."""
    if not followed:
        raise OSError(errno.ELOOP, f"{walked} is a link", path)
    sticky = here.st_uid in (0, os.geteuid()) and bool(here.st_mode & stat.S_ISVTX)
    trusted = only_ours_may_change(here) or sticky
    if not trusted or found.st_uid not in (0, os.geteuid()):
        whose = found.st_uid if found.st_uid not in (0, os.geteuid()) else here.st_uid
        raise OSError(errno.ELOOP, f"{walked} is a link that uid {whose} can change", path)
    return os.readlink("", dir_fd=link)


def _names(path: str) -> list[str]:
    """The names of a path, the last one first."""
    return [name for name in reversed(path.split("/")) if name not in ("", ".")]
