"""Copies a version from a local directory into the model root: hidden while it is copied, then renamed in.

Blocks share the disk's space with the source where the file system can do that. Links are followed, as a cache of
Hugging Face needs it, but only within `boundary_of` the source. The source may belong to another user, who changes it
meanwhile: what is read is the very file that was listed. Invariants: the source is not changed; a version that is there
with the same content is left alone, with other content it is never replaced.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from msgspec import Struct

from ...worker.shared.quantities import size
from ..errors import Refused
from ..models.upload_rules import MAX_DEPTH, MAX_UPLOAD_BYTES, member_path
from ..names import is_unfinished
from ..system.disk_room import Reserve
from ..system.safe_paths import only_ours_may_change, open_directory, open_file
from .part_directory import FULL, part_directory

MAX_FILES: Final = 2_000
PIECE_BYTES: Final = 8 << 20
LEFT_BY_TOOLS: Final = frozenset((".git", ".cache", "._____temp", ".locks", ".no_exist"))
"""Directories of download tools, which are no part of a version."""
_CACHE_PREFIX: Final = "models--"
_FICLONE: Final = 0x40049409
_NO_CLONE: Final = (errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ENOSYS, errno.EPERM, errno.EBADF)
_SOURCE: Final = os.O_RDONLY | os.O_NONBLOCK
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
Take = Callable[[Sequence[str]], Collection[str]]
CopyProgress = Callable[[int, int], None]
"""Called with the bytes that are there and those that there will be; it raises to end the copy."""


class LocalFile(Struct, frozen=True):
    """A file of the version: its path there, the regular file that it leads to, and its length.

    `identity` is (st_dev, st_ino) of that file.
    """

    path: str
    source: str
    bytes: int
    identity: tuple[int, int]


class LocalCopy(Struct, frozen=True):
    """What came of it. Not `copied`: the same version was there already."""

    path: Path
    files: int
    bytes: int
    copied: bool


def copy_version(
    source: Path,
    root: Path,
    version: str,
    *,
    link: str = "current",
    reserve: Reserve = lambda total_bytes: 0,
    take: Take = lambda paths: paths,
    progress: CopyProgress = lambda done, total: None,
) -> LocalCopy:
    """Copies the files of `source` that `take` chooses, as `version`. Raises Refused; then the root is as before."""
    cannot = f"cannot copy {source}"
    files = files_of(source, cannot)
    wanted = set(take([file.path for file in files]))
    files = [file for file in files if file.path in wanted]
    total = sum(file.bytes for file in files)
    if not files:
        raise Refused(f"{cannot}: it holds no files of a version")
    if total > MAX_UPLOAD_BYTES:
        raise Refused(f"{cannot}: it has {size(total)}, and a version has {size(MAX_UPLOAD_BYTES)} at most")
    with part_directory(root, version, link, reserve, cannot) as part:
        target = root / version
        if os.path.lexists(target):
            part.remove()
            if not same_content(files, target):
                raise Refused(
                    f"{cannot}: {target} exists and has other content; --as NAME gives the new one another name"
                )
            return LocalCopy(target, len(files), total, copied=False)
        part.begin(keep=False)
        part.require_room(total)
        try:
            done = 0
            for file in files:
                done += _copy(file, part.files, partial(_add, progress, done, total))
                part.touch()
        except (Refused, OSError) as e:
            part.remove()  # a copy begins anew
            if isinstance(e, OSError) and e.errno in FULL:
                raise Refused(f"{cannot}: the disk of {root} is full; nothing of it was kept") from e
            raise
        count, there = part.place()
        part.remove()
        return LocalCopy(target, count, there, copied=True)


def _add(progress: CopyProgress, before: int, total: int, there: int) -> None:
    progress(before + there, total)


def boundary_of(source: Path) -> Path:
    """The directory within which links of a version may lead. It is the source itself, or its repository in a cache of
    Hugging Face, where a version consists of links to files beside it. A link that is named as the source is followed.
    """
    place = Path(os.path.realpath(source))
    if place.parent.name == "snapshots" and place.parent.parent.name.startswith(_CACHE_PREFIX):
        return place.parent.parent
    return place


def files_of(source: Path, cannot: str) -> list[LocalFile]:
    """The files of a version, sorted by path, links resolved. Raises Refused for what a version may not hold."""
    top, boundary = os.path.realpath(source), boundary_of(source)
    found: list[LocalFile] = []
    try:
        at = open_directory(top, last_link=False)
        try:
            _walk(at, top, "", boundary, found, cannot)
        finally:
            os.close(at)
    except OSError as e:
        raise Refused(f"{cannot}: {e.filename or source}: {e.strerror or e}") from e
    return sorted(found, key=lambda file: file.path)


def open_listed(file: LocalFile) -> int:
    """A descriptor of a file that was listed. Raises Refused when another one is in its place, and OSError."""
    try:
        fd = open_file(file.source, _SOURCE)
    except FileNotFoundError as e:
        raise Refused(f"cannot copy {file.source}: it went away while the version was copied") from e
    if _identity(os.fstat(fd)) != file.identity:
        os.close(fd)
        raise _changed(file)
    return fd


def _walk(at: int, directory: str, prefix: str, boundary: Path, found: list[LocalFile], cannot: str) -> None:
    """Lists what lies in the directory of the descriptor `at`, whose path is `directory`."""
    here = os.fstat(at)
    with os.scandir(at) as entries:
        for entry in entries:
            path = prefix + entry.name
            if entry.name in LEFT_BY_TOOLS or is_unfinished(path):
                continue
            place, holder = os.path.join(directory, entry.name), here
            status = os.stat(entry.name, dir_fd=at, follow_symlinks=False)
            if stat.S_ISLNK(status.st_mode):
                place = _target(place, path, boundary, cannot)
                status, holder = _seen(place)
            elif stat.S_ISDIR(status.st_mode):
                if path.count("/") + 1 >= MAX_DEPTH:
                    raise Refused(f"{cannot}: {path} is deeper than {MAX_DEPTH} directories")
                below = os.open(entry.name, _DIRECTORY, dir_fd=at)
                try:
                    _walk(below, place, path + "/", boundary, found, cannot)
                finally:
                    os.close(below)
                continue
            if not stat.S_ISREG(status.st_mode):
                raise Refused(f"{cannot}: {path} is neither a file, a link to a file, nor a directory")
            if _may_be_stolen(status, holder):
                raise Refused(f"{cannot}: {path} is a hard link to a file of another user; put a copy of it there")
            if len(found) >= MAX_FILES:
                raise Refused(f"{cannot}: it has more than {MAX_FILES} files; is it a version?")
            found.append(LocalFile(member_path(path, cannot), place, status.st_size, _identity(status)))


def _target(link: str, path: str, boundary: Path, cannot: str) -> str:
    """Where a link leads. Raises Refused when that is outside, or not there."""
    place = os.path.realpath(link)
    if not Path(place).is_relative_to(boundary):
        raise Refused(f"{cannot}: {path} is a link that leads out of {boundary}, to {place}")
    if not os.path.lexists(place):
        raise Refused(f"{cannot}: {path} is a link to {place}, which is not there; was it downloaded?")
    return place


def _seen(place: str) -> tuple[os.stat_result, os.stat_result]:
    """What is at a path without links, and the directory that holds it."""
    parent, name = os.path.split(place)
    at = open_file(parent, os.O_PATH | os.O_DIRECTORY)
    try:
        return os.stat(name, dir_fd=at, follow_symlinks=False), os.fstat(at)
    finally:
        os.close(at)


def _may_be_stolen(status: os.stat_result, holder: os.stat_result) -> bool:
    """Whether a user who may not read a file can have given it this name, for root to read it."""
    if os.geteuid() != 0 or status.st_nlink < 2 or only_ours_may_change(holder):
        return False
    return status.st_uid == 0 or status.st_uid != holder.st_uid


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _changed(file: LocalFile) -> Refused:
    return Refused(f"cannot copy {file.source}: it changed while it was copied; copy it when it is complete")


def _copy(file: LocalFile, into: Path, progress: Callable[[int], None]) -> int:
    """Copies one file; its length. Raises Refused when it changed since it was listed."""
    place = into / file.path
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    source = open_listed(file)
    try:
        target = os.open(place, _NEW, 0o600)
        try:
            there = os.fstat(target).st_size if _cloned(source, target) else _streamed(source, target, file, progress)
        finally:
            os.close(target)
    finally:
        os.close(source)
    if there != file.bytes:
        raise _changed(file)
    progress(there)
    return there


def _streamed(source: int, target: int, file: LocalFile, progress: Callable[[int], None]) -> int:
    """Copies byte for byte, at most one piece more than was listed; how many bytes."""
    there = 0
    while there <= file.bytes and (piece := os.read(source, PIECE_BYTES)):
        view = memoryview(piece)
        while view:
            view = view[os.write(target, view) :]
        there += len(piece)
        progress(there)
    return there


def _cloned(source: int, target: int) -> bool:
    """Whether the file system let both files share their blocks."""
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError as e:
        if e.errno not in _NO_CLONE:
            raise
        return False
    return True


def same_content(files: Sequence[LocalFile], version: Path) -> bool:
    """Whether a version has exactly these files with this content."""
    try:
        there = files_of(version, "")
        if [(file.path, file.bytes) for file in there] != [(file.path, file.bytes) for file in files]:
            return False
        return all(_same_bytes(one, other) for one, other in zip(files, there, strict=True))
    except (OSError, Refused):
        return False


def _same_bytes(one: LocalFile, other: LocalFile) -> bool:
    with open(open_listed(one), "rb") as first, open(open_listed(other), "rb") as second:
        while piece := first.read(PIECE_BYTES):
            if second.read(len(piece)) != piece:
                return False
        return not second.read(1)
