"""Uploads on the disk: a hidden directory in the model root for each, with its plan and what came of its files.

All that is known of an upload lies there, so that it goes on after a restart of the daemon. Blocks; for a thread, and
for one call on an upload at a time. Invariant: nothing outside an upload's own directory is written, until the whole is
renamed into the root, over nothing, or removed.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from msgspec import Struct
from msgspec.json import decode, encode

from ...worker.shared.quantities import size as size_text
from ..answers.uploads import DIRECTORY, UploadFile
from ..errors import NotKnown, Refused
from ..system.disk_room import Reserve, disk_room
from ..system.safe_paths import open_directory
from . import upload_rules as rules
from .upload_rules import UploadPlan

PREFIX: Final = ".upload-"
_NAME: Final = re.compile(r"\.upload-([0-9a-f]{16})")
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_PLAN, _FILES = "plan.json", "files"
_MAX_PLAN_BYTES: Final = 1 << 20
_UNKNOWN: Final = UploadPlan("?", DIRECTORY, ())
"""In place of a plan that can't be read: the upload takes a place, and can be dropped."""

Rename = Callable[..., None]


class UploadSeen(Struct, frozen=True):
    """An upload, how much of each file has arrived, and when something last came (wall seconds)."""

    id: str
    plan: UploadPlan
    received: tuple[int, ...]
    touched: float

    @property
    def received_bytes(self) -> int:
        return sum(self.received)


class UploadArea:
    """The uploads of one model root. `rename` renames by descriptors and never over anything.

    `reserve(total_bytes)` is what must stay free on a file system of that size.
    """

    def __init__(self, root: Path, rename: Rename, reserve: Reserve) -> None:
        self._root, self._rename, self._reserve = root, rename, reserve

    def seen(self) -> list[UploadSeen]:
        """Every upload, the newest last. Raises OSError."""
        with self._open_root() as root:
            return self._seen(root)

    def begin(self, version: str, kind: str, files: list[UploadFile], link: str) -> UploadSeen:
        """A new upload. Raises Refused and OSError."""
        with self._open_root() as root:
            others = self._seen(root)
            taken = {*os.listdir(root), *(other.plan.version for other in others)}
            plan = rules.plan(version, kind, files, link=link, taken=taken)
            if len(others) >= rules.MAX_UPLOADS:
                names = ", ".join(other.plan.version for other in others)
                raise Refused(f"cannot upload {version}: {len(others)} uploads are not finished ({names})")
            pending = sum(max(0, other.plan.room_bytes - other.received_bytes) for other in others)
            if why := rules.why_no_room(plan.room_bytes, pending, disk_room(root, self._reserve)):
                raise Refused(f"cannot upload {version}: {why}")
            upload = secrets.token_hex(8)
            os.mkdir(PREFIX + upload, 0o700, dir_fd=root)
            try:
                with self._open(root, upload) as fd:
                    return self._planned(root, fd, upload, plan)
            except BaseException:
                shutil.rmtree(PREFIX + upload, ignore_errors=True, dir_fd=root)
                raise

    def _planned(self, root: int, fd: int, upload: str, plan: UploadPlan) -> UploadSeen:
        """Writes the plan so that it survives a loss of power: what comes afterwards is of use only with it."""
        os.mkdir(_FILES, 0o750, dir_fd=fd)
        with open(os.open(_PLAN, _NEW, 0o600, dir_fd=fd), "wb") as file:
            file.write(encode(plan))
            file.flush()
            os.fsync(file.fileno())
        os.fsync(fd)
        os.fsync(root)
        return self._read(upload, fd)

    def write(self, upload: str, number: int, offset: int, data: bytes) -> int:
        """Adds to a file; its length then. Raises Refused, also when `offset` is not the file's end, and OSError."""
        with self._open_root() as root, self._open(root, upload) as fd:
            plan = self._plan(fd)
            if number >= len(plan.files):
                raise NotKnown(f"cannot take this: the upload of {plan.version} has no file {number}")
            wanted, path = plan.files[number], self._path(plan, number)
            self._require_room(root, plan.version, len(data))
            if "/" in path:
                os.makedirs(f"/proc/self/fd/{fd}/{path.rpartition('/')[0]}", 0o750, exist_ok=True)
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o640, dir_fd=fd)
            try:
                there = os.fstat(file).st_size
                if offset != there:
                    raise Refused(f"cannot take this at {offset}: {wanted.path} has {there} bytes; go on from there")
                if offset + len(data) > wanted.bytes:
                    raise Refused(f"cannot take this: {wanted.path} was announced with {wanted.bytes} bytes")
                view = memoryview(data)
                while view:
                    there += (written := os.pwrite(file, view, there))
                    view = view[written:]
            finally:
                os.close(file)
            os.utime(fd)
            return there

    def finish(self, upload: str, may_go_on: Callable[[], None]) -> tuple[str, int, int]:
        """Puts the version into the root; its name, files and bytes. Raises Refused and OSError; then all is kept.

        `may_go_on` raises to end it.
        """
        with self._open_root() as root, self._open(root, upload) as fd:
            found = self._read(upload, fd)
            plan, cannot = found.plan, f"cannot put {found.plan.version} into the model root"
            if _is_there(root, plan.version):  # also after a crash between the rename and the end of this
                raise Refused(f"{cannot}: there is a version of that name by now")
            missing = [f.path for f, there in zip(plan.files, found.received, strict=True) if there != f.bytes]
            if missing:
                raise Refused(f"{cannot}: {len(missing)} files are not complete, among them {missing[0]}")
            if plan.kind == DIRECTORY:
                self._complete(fd, plan, may_go_on)
                files, source, name = len(plan.files), fd, _FILES
            else:
                files, name = self._unpack(root, fd, plan, cannot, may_go_on), _FILES
                source = fd
            inner = os.open(_FILES, _DIRECTORY, dir_fd=fd)
            try:
                total = _size(inner)
                entries = os.listdir(inner)
                if plan.kind != DIRECTORY and len(entries) == 1 and _is_directory(inner, entries[0]):
                    source, name = inner, entries[0]  # the one directory that everything is in
                os.fsync(inner)
                try:
                    self._rename(name, plan.version, source_dir=source, target_dir=root)
                except FileExistsError as e:
                    raise Refused(f"{cannot}: there is a version of that name by now") from e
                os.fsync(root)
            finally:
                os.close(inner)
            with suppress(OSError):
                shutil.rmtree(PREFIX + upload, dir_fd=root)
            return plan.version, files, total

    def drop(self, upload: str) -> str:
        """Removes an upload; the version that it was to be. Raises NotKnown and OSError."""
        with self._open_root() as root:
            with self._open(root, upload) as fd:
                version = self._plan_or_unknown(fd).version
            shutil.rmtree(PREFIX + upload, dir_fd=root)
            return version

    def abandoned(self, now_wall: float) -> list[str]:
        """Removes uploads to which nothing came for ABANDONED_SECONDS; their versions. Raises OSError."""
        with self._open_root() as root:
            found = []
            for name in os.listdir(root):
                if not (match := _NAME.fullmatch(name)):
                    continue
                with suppress(OSError, Refused):
                    with self._open(root, match[1]) as fd:
                        age, version = now_wall - os.fstat(fd).st_mtime, self._plan_or_unknown(fd).version
                    if age > rules.ABANDONED_SECONDS:
                        shutil.rmtree(name, dir_fd=root)
                        found.append(version)
            return found

    # inside

    @contextmanager
    def _open_root(self) -> Iterator[int]:
        fd = open_directory(str(self._root.absolute()))
        try:
            yield fd
        finally:
            os.close(fd)

    @contextmanager
    def _open(self, root: int, upload: str) -> Iterator[int]:
        """An upload's directory, if it is ours alone. Raises NotKnown."""
        unknown = NotKnown(f"cannot find upload {upload[:40]!r}: there is none, or it was abandoned for a day")
        if not _NAME.fullmatch(PREFIX + upload):
            raise unknown
        try:
            fd = os.open(PREFIX + upload, _DIRECTORY, dir_fd=root)
        except OSError as e:
            raise unknown from e
        try:
            found = os.fstat(fd)
            if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
                raise unknown
            yield fd
        finally:
            os.close(fd)

    def _seen(self, root: int) -> list[UploadSeen]:
        found = []
        for name in os.listdir(root):
            if match := _NAME.fullmatch(name):
                with suppress(OSError, Refused), self._open(root, match[1]) as fd:
                    try:
                        found.append(self._read(match[1], fd))
                    except (OSError, Refused):
                        found.append(UploadSeen(match[1], _UNKNOWN, (), os.fstat(fd).st_mtime))
        return sorted(found, key=lambda upload: upload.touched)

    def _read(self, upload: str, fd: int) -> UploadSeen:
        plan = self._plan(fd)
        received = tuple(self._there(fd, self._path(plan, number)) for number in range(len(plan.files)))
        return UploadSeen(upload, plan, received, os.fstat(fd).st_mtime)

    def _there(self, fd: int, path: str) -> int:
        try:
            return os.stat(path, dir_fd=fd, follow_symlinks=False).st_size
        except FileNotFoundError:
            return 0

    def _plan(self, fd: int) -> UploadPlan:
        file = os.open(_PLAN, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=fd)
        with open(file, "rb") as opened:
            try:
                return decode(opened.read(_MAX_PLAN_BYTES), type=UploadPlan)
            except ValueError as e:
                raise Refused("cannot read the plan of an upload; drop it and begin anew") from e

    def _plan_or_unknown(self, fd: int) -> UploadPlan:
        try:
            return self._plan(fd)
        except (OSError, Refused):
            return _UNKNOWN

    def _path(self, plan: UploadPlan, number: int) -> str:
        return f"{_FILES}/{plan.files[number].path}" if plan.kind == DIRECTORY else "archive"

    def _require_room(self, root: int, version: str, wanted_bytes: int) -> None:
        """Raises Refused when so much more would leave less than must stay free."""
        room = disk_room(root, self._reserve)
        if wanted_bytes > room.bytes:
            raise Refused(f"cannot take more of {version}: {room}")

    def _complete(self, fd: int, plan: UploadPlan, may_go_on: Callable[[], None]) -> None:
        """Every file is synced; an empty one of which no byte came is made."""
        for number in range(len(plan.files)):
            may_go_on()
            path = self._path(plan, number)
            if "/" in path:
                os.makedirs(f"/proc/self/fd/{fd}/{path.rpartition('/')[0]}", 0o750, exist_ok=True)
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o640, dir_fd=fd)
            try:
                os.fsync(file)
            finally:
                os.close(file)

    def _unpack(self, root: int, fd: int, plan: UploadPlan, cannot: str, may_go_on: Callable[[], None]) -> int:
        from .unpack_archive import unpack  # what reads archives is a megabyte, and seldom needed

        shutil.rmtree(_FILES, dir_fd=fd)  # what an earlier try left
        os.mkdir(_FILES, 0o750, dir_fd=fd)
        inner = os.open(_FILES, _DIRECTORY, dir_fd=fd)
        written = 0

        def may_write(size: int) -> None:
            nonlocal written
            may_go_on()
            written += size
            if written > rules.MAX_UPLOAD_BYTES:
                raise Refused(f"{cannot}: unpacked it has more than {size_text(rules.MAX_UPLOAD_BYTES)}")
            self._require_room(root, plan.version, size)

        try:
            with open(os.open("archive", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd), "rb") as archive:
                files = unpack(archive, plan.kind, inner, cannot=cannot, may_write=may_write)
        finally:
            os.close(inner)
        if not files:
            raise Refused(f"{cannot}: the archive has no files")
        return files


def _is_there(fd: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _is_directory(fd: int, name: str) -> bool:
    return stat.S_ISDIR(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode)


def _size(fd: int) -> int:
    total = 0
    for _, _, names, at in os.fwalk(dir_fd=fd):
        total += sum(os.stat(name, dir_fd=at, follow_symlinks=False).st_size for name in names)
    return total
