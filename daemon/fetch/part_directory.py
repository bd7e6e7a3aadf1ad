"""A version on its way into the model root: a hidden directory there, filled under a lock, then renamed into place.

What was fetched stays in it after a failure, for the next try. Blocks; for a command or a thread. Invariants: nothing
outside that directory is written; the version appears complete, synced and with its owner and rights, or not at all;
nothing in the root is ever replaced.
"""

from __future__ import annotations

import errno
import os
import pwd
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from ...worker.shared.quantities import size
from ..errors import Refused
from ..models.fetch_parts import locked, open_part, part_name
from ..models.upload_rules import why_not_name
from ..system.disk_room import Reserve, disk_room
from ..system.safe_paths import open_directory
from ..upkeep.syscalls import rename_noreplace

FILES: Final = "files"
"""The version's own files, in the hidden directory."""
FULL: Final = (errno.ENOSPC, errno.EDQUOT)


class PartDirectory:
    """See the module. `files` and `aside` are paths for this process alone: they go through open descriptors.

    `reserve(total_bytes)` is what must stay free on a file system of that size.
    """

    def __init__(self, root: int, fd: int, version: str, reserve: Reserve, cannot: str) -> None:
        self._root, self._fd, self._version, self._reserve, self._cannot = root, fd, version, reserve, cannot
        self.aside = Path(f"/proc/self/fd/{fd}")
        """For what belongs to the fetch and not to the version: plans, archives, files of tools."""
        self.files = self.aside / FILES

    def begin(self, *, keep: bool) -> None:
        """Makes the directory of the files, which is empty unless `keep` is set. Raises OSError."""
        if not keep:
            with suppress(FileNotFoundError):
                shutil.rmtree(FILES, dir_fd=self._fd)
        with suppress(FileExistsError):
            os.mkdir(FILES, 0o700, dir_fd=self._fd)

    def require_room(self, wanted_bytes: int) -> None:
        """Raises Refused with the figures when so much more would leave less than must stay free."""
        room = disk_room(self._root, self._reserve)
        if wanted_bytes and wanted_bytes > room.bytes:
            left = size(max(0, room.bytes))
            raise Refused(f"{self._cannot}: it needs {size(wanted_bytes)} and there is room for {left} ({room})")

    def touch(self) -> None:
        """Something came: from now on the directory counts as young."""
        with suppress(OSError):
            os.utime(self._fd)

    def place(self, inside: str = FILES) -> tuple[int, int]:
        """Puts the version into the root; its files and bytes. `inside` is where it lies in the directory.

        Raises Refused when there is a version of that name, and OSError; then all is kept.
        """
        top = os.open(inside, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._fd)
        try:
            files, total = _finished(top, os.fstat(self._root))
        finally:
            os.close(top)
        try:
            rename_noreplace(inside, self._version, source_dir=self._fd, target_dir=self._root)
        except FileExistsError as e:
            raise Refused(f"{self._cannot}: there is a version of that name by now") from e
        os.fsync(self._root)
        return files, total

    def remove(self) -> None:
        """Removes what is left of it."""
        with suppress(OSError):
            shutil.rmtree(part_name(self._version), dir_fd=self._root)


def require_name(version: str, link: str, cannot: str) -> None:
    """Raises Refused when no version of the root can have this name."""
    if why := why_not_name(version, link, ()):
        raise Refused(f"{cannot}: {why}")


@contextmanager
def part_directory(root: Path, version: str, link: str, reserve: Reserve, cannot: str) -> Iterator[PartDirectory]:
    """The directory of this version in the root, ours for as long as the block runs.

    Raises Refused, which begins with `cannot`, when the name cannot be a version's, when another process fetches it,
    and when the disk is full.
    """
    require_name(version, link, cannot)
    if not root.is_dir():
        raise Refused(f"{cannot}: {root} is no directory; --to ROOT names another model root")
    name = part_name(version)
    with _explained(cannot, root):
        at = open_directory(str(root.absolute()))
        try:
            with suppress(FileExistsError):
                os.mkdir(name, 0o700, dir_fd=at)
            fd = open_part(at, name)
            try:
                if not locked(at, name, fd):
                    raise Refused(f"{cannot}: another command is fetching it now")
                try:
                    yield PartDirectory(at, fd, version, reserve, cannot)
                finally:
                    with suppress(OSError):  # where nothing came, nothing stays
                        os.rmdir(FILES, dir_fd=fd)
                    with suppress(OSError):
                        os.rmdir(name, dir_fd=at)
            finally:
                os.close(fd)
        finally:
            os.close(at)


@contextmanager
def _explained(cannot: str, root: Path) -> Iterator[None]:
    """Turns errors of the disk into sentences."""
    try:
        yield
    except OSError as e:
        if e.filename and _is_elsewhere(str(e.filename), root):  # it is of the source
            raise Refused(f"{cannot}: {e.filename}: {e.strerror or e}") from e
        if e.errno in FULL:
            raise Refused(
                f"{cannot}: the disk of {root} is full; what came is kept, and the same command continues"
            ) from e
        if e.errno in (errno.EACCES, errno.EPERM):
            whose = f"it belongs to {_owner(root)}; run the command as that user, or as root"
            raise Refused(f"{cannot}: {root} cannot be written: {whose}") from e
        if e.errno == errno.EROFS:
            raise Refused(f"{cannot}: {root} cannot be written: its file system is read-only") from e
        raise Refused(f"{cannot}: {e.strerror or e}") from e


def _is_elsewhere(path: str, root: Path) -> bool:
    """Whether an absolute path lies neither in the root nor behind a descriptor of ours."""
    return path.startswith("/") and not path.startswith("/proc/self/fd/") and not Path(path).is_relative_to(root)


def _owner(path: Path) -> str:
    uid = path.stat().st_uid
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def _finished(top: int, root: os.stat_result) -> tuple[int, int]:
    """Gives files and directories the rights and the owner of the root, and syncs them; how many files and bytes."""
    readers = stat.S_IMODE(root.st_mode) & 0o055
    files = total = 0
    for _, _, names, at in os.fwalk(dir_fd=top, topdown=False):
        for name in names:
            fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=at)
            try:
                _given(fd, root, 0o600 | (readers & 0o044))
                os.fsync(fd)
                files, total = files + 1, total + os.fstat(fd).st_size
            finally:
                os.close(fd)
        _given(at, root, 0o700 | readers)
        os.fsync(at)
    return files, total


def _given(fd: int, root: os.stat_result, mode: int) -> None:
    owner = root.st_uid if os.geteuid() == 0 else -1
    with suppress(PermissionError):  # of another group: the rights for all others decide
        os.fchown(fd, owner, root.st_gid)
    os.fchmod(fd, mode)
