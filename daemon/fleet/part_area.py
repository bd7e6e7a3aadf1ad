"""The version that is being fetched: one hidden directory in the model root, with a note of what it is for.

All that is known of it lies there, so that fetching goes on after any end of the daemon. Blocks; for one thread at a
time. Invariant: nothing outside the hidden directory is written, until the whole, with its digests proved, is renamed
into the root, over nothing. Whoever else may write in the root can put a link or a directory of their own there: it is
removed, and never entered.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec
from msgspec.structs import replace

from ...worker.shared.checksums import MAX_SUMS_BYTES, SUMS
from ...worker.shared.durable_files import replace_file, sync_directory
from ...worker.shared.lean_imports import quick_sha256
from ...worker.shared.sha256sums import BadSums, parse_sums
from ...worker.shared.unreadable import UNREADABLE
from ..names import FLEET_PART
from ..system.safe_paths import open_directory
from ..system.safe_read import open_regular
from .agent_planner import FetchedPart

MAX_NOTE_BYTES: Final = 4096
_NOTE, _FILES = "note.json", "files"
_DIRECTORY_MODE, _FILE_MODE = 0o750, 0o640
_WRITE: Final = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
_ENTER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ_BYTES: Final = 1 << 20


class PartArea:
    """See the module. `rename` renames by descriptors and never over anything."""

    def __init__(self, root: Path, rename: Callable[..., None]) -> None:
        self._root, self._rename = root, rename

    @contextmanager
    def _inside(self) -> Iterator[Path]:
        """The hidden directory, by its descriptor: it stays the same, whatever its name leads to by now.

        Raises OSError, FileNotFoundError where there is none of our own.
        """
        into = open_directory(str(self._root))
        try:
            place = os.open(FLEET_PART, _ENTER, dir_fd=into)
        except OSError as e:
            if e.errno not in (errno.ELOOP, errno.ENOTDIR):
                raise
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), FLEET_PART) from e
        finally:
            os.close(into)
        try:
            if os.fstat(place).st_uid != os.geteuid():
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), FLEET_PART)
            yield Path(f"/proc/self/fd/{place}")
        finally:
            os.close(place)

    def seen(self) -> FetchedPart | None:
        """What is there; None for nothing, or for what no note is about. Raises OSError."""
        try:
            with self._inside() as place:
                note = _note(place)
                return replace(note, bytes=sum(_walked(place).values())) if note is not None else None
        except FileNotFoundError:
            return None

    def begin(self, manifest_sha256: str, sequence: int) -> FetchedPart:
        """What is there for this version, begun if there is nothing. What is for another one goes. Raises OSError."""
        part = self.seen()
        if part is None or part.manifest_sha256 != manifest_sha256:
            part = FetchedPart(manifest_sha256, sequence)
            self.discard()
            (self._root / FLEET_PART).mkdir(_DIRECTORY_MODE, parents=True)
            with self._inside() as place:
                os.mkdir(place / _FILES, _DIRECTORY_MODE)
            self.keep(part)
            sync_directory(self._root)
        elif part.sequence != sequence:  # published again: what was wrong before may be right now
            part = replace(part, sequence=sequence, wrong=0)
            self.keep(replace(part, bytes=0))
        return part

    def keep(self, part: FetchedPart) -> None:
        """Writes the note. Raises OSError."""
        with self._inside() as place:
            replace_file(place / _NOTE, msgspec.json.encode(part))

    def discard(self) -> None:
        """Removes it all, also what somebody else put there under its name. Raises OSError."""
        place = self._root / FLEET_PART
        try:
            found = place.lstat()
        except FileNotFoundError:
            return
        if stat.S_ISDIR(found.st_mode):
            shutil.rmtree(place)
        else:
            place.unlink()

    def size(self, name: str) -> int:
        """How much of a file is there. Raises OSError."""
        try:
            with self._inside() as place:
                return os.stat(place / _FILES / member(name), follow_symlinks=False).st_size
        except FileNotFoundError:
            return 0

    def write(self, name: str, offset: int, data: bytes, *, last: bool) -> None:
        """Adds to a file at its end, and has it durable with its `last` bytes. Raises OSError."""
        with self._inside() as place:
            path = place / _FILES / member(name)
            path.parent.mkdir(_DIRECTORY_MODE, parents=True, exist_ok=True)
            descriptor = os.open(path, _WRITE, _FILE_MODE)
        try:
            view, at = memoryview(data), offset
            while view:
                written = os.pwrite(descriptor, view, at)
                view, at = view[written:], at + written
            if last:
                os.ftruncate(descriptor, at)
                os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def verify(self, most_bytes: int, end: Callable[[], bool]) -> FetchedPart:
        """Compares all digests, and removes files with other bytes. `end` returns True to stop. Raises OSError."""
        with self._inside() as place:
            part = _note(place) or FetchedPart("", 0)
            wrong = _wrong(place, part.manifest_sha256, most_bytes, end)
            if end():
                return part
            for name in wrong:
                (place / _FILES / name).unlink(missing_ok=True)
            bad = bool(wrong)
            part = replace(part, bytes=0, complete=not bad, verified=not bad, wrong=part.wrong + bad)
            replace_file(place / _NOTE, msgspec.json.encode(part))
            return replace(part, bytes=sum(_walked(place).values()))

    def rename_in(self, version: str) -> None:
        """Puts it into the model root under its name. Raises OSError, FileExistsError where there is such a name."""
        with self._inside() as beside:
            for place, directories, _ in os.walk(beside / _FILES):
                for name in directories:
                    sync_directory(Path(place, name))
            sync_directory(beside / _FILES)
            into = open_directory(str(self._root))
            try:
                self._rename(_FILES, version, source_dir=int(beside.name), target_dir=into)
                os.fsync(into)
            finally:
                os.close(into)
        self.discard()


def _note(place: Path) -> FetchedPart | None:
    try:
        with open_regular(place / _NOTE) as file:
            return msgspec.json.decode(file.read(MAX_NOTE_BYTES), type=FetchedPart)
    except (FileNotFoundError, *UNREADABLE):
        return None


def _walked(place: Path) -> dict[str, int]:
    """The size of each file by its path."""
    found = dict[str, int]()
    for at, _, files in os.walk(place / _FILES):
        for name in files:
            path = Path(at, name)
            found[str(path.relative_to(place / _FILES))] = path.lstat().st_size
    return found


def _wrong(place: Path, manifest_sha256: str, most_bytes: int, end: Callable[[], bool]) -> list[str]:
    """The files whose bytes are not those of the list."""
    try:
        with open_regular(place / _FILES / SUMS) as file:
            data = file.read(MAX_SUMS_BYTES + 1)
        if hashlib.sha256(data).hexdigest() != manifest_sha256:
            return [SUMS]
        sums = parse_sums(data)
    except (BadSums, FileNotFoundError):
        return [SUMS]
    there = _walked(place)
    if sum(there.values()) > most_bytes:
        return sorted(there)
    wrong = []
    for name, digest in sums.items():
        if end():
            return []
        if member(name) not in there or _sha256(place / _FILES / name, end) != digest:
            wrong.append(name)
    return wrong


def member(name: str) -> str:
    """The path of a file of a version, as it is. Raises OSError for one that leads elsewhere."""
    if any(part in ("", ".", "..") for part in name.split("/")) or "\0" in name:
        raise OSError(22, f"{name!a} is no path in a version")
    return name


def _sha256(path: Path, end: Callable[[], bool]) -> str:
    hashed = quick_sha256()
    with open_regular(path) as file:
        while not end() and (data := file.read(_READ_BYTES)):
            hashed.update(data)
    return str(hashed.hexdigest())
