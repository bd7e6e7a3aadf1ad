"""The version that is being fetched: one hidden directory in the model root, with a note of what it is for.

All that is known of it lies there, so that fetching goes on after any end of the daemon. Blocks; for one thread at a
time. Invariant: nothing outside the hidden directory is written, until the whole, with its digests proved, is renamed
into the root, over nothing.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
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
_READ_BYTES: Final = 1 << 20


class PartArea:
    """See the module. `rename` renames by descriptors and never over anything."""

    def __init__(self, root: Path, rename: Callable[..., None]) -> None:
        self._root, self._rename = root, rename
        self._place = root / FLEET_PART
        self._files = self._place / _FILES

    def seen(self) -> FetchedPart | None:
        """What is there; None for nothing, or for what no note is about. Raises OSError."""
        note = self._note()
        if note is None:
            return None
        return replace(note, bytes=sum(self._walked().values()))

    def begin(self, manifest_sha256: str, sequence: int) -> FetchedPart:
        """What is there for this version, begun if there is nothing. What is for another one goes. Raises OSError."""
        note = self._note()
        if note is None or note.manifest_sha256 != manifest_sha256:
            self.discard()
            self._files.mkdir(_DIRECTORY_MODE, parents=True)
            self.keep(FetchedPart(manifest_sha256, sequence))
            sync_directory(self._root)
        elif note.sequence != sequence:  # published again: what was wrong before may be right now
            self.keep(replace(note, sequence=sequence, wrong=0))
        found = self.seen()
        assert found is not None
        return found

    def keep(self, part: FetchedPart) -> None:
        """Writes the note. Raises OSError."""
        replace_file(self._place / _NOTE, msgspec.json.encode(part))

    def discard(self) -> None:
        """Removes it all. Raises OSError."""
        if self._place.is_symlink() or self._place.exists():
            shutil.rmtree(self._place)

    def size(self, name: str) -> int:
        """How much of a file is there. Raises OSError."""
        try:
            return os.stat(self._files / member(name), follow_symlinks=False).st_size
        except FileNotFoundError:
            return 0

    def write(self, name: str, offset: int, data: bytes, *, last: bool) -> None:
        """Adds to a file at its end, and has it durable with its `last` bytes. Raises OSError."""
        path = self._files / member(name)
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

    def manifest(self) -> bytes:
        """The list of its files, as it came. Raises OSError."""
        with open_regular(self._files / SUMS) as file:
            return file.read(MAX_SUMS_BYTES + 1)

    def verify(self, most_bytes: int, end: Callable[[], bool]) -> FetchedPart:
        """Compares all digests, and removes files with other bytes. `end` returns True to stop. Raises OSError."""
        part = self._note() or FetchedPart("", 0)
        wrong = self._wrong(part.manifest_sha256, most_bytes, end)
        if end():
            return part
        for name in wrong:
            (self._files / name).unlink(missing_ok=True)
        bad = bool(wrong)
        part = replace(part, bytes=0, complete=not bad, verified=not bad, wrong=part.wrong + bad)
        self.keep(part)
        return replace(part, bytes=sum(self._walked().values()))

    def _wrong(self, manifest_sha256: str, most_bytes: int, end: Callable[[], bool]) -> list[str]:
        try:
            data = self.manifest()
            if hashlib.sha256(data).hexdigest() != manifest_sha256:
                return [SUMS]
            sums = parse_sums(data)
        except (BadSums, FileNotFoundError):
            return [SUMS]
        there = self._walked()
        if sum(there.values()) > most_bytes:
            return sorted(there)
        wrong = []
        for name, digest in sums.items():
            if end():
                return []
            if member(name) not in there or _sha256(self._files / name, end) != digest:
                wrong.append(name)
        return wrong

    def rename_in(self, version: str) -> None:
        """Puts it into the model root under its name. Raises OSError, FileExistsError where there is such a name."""
        for place, directories, _ in os.walk(self._files):
            for name in directories:
                sync_directory(Path(place, name))
        sync_directory(self._files)
        into = open_directory(str(self._root))
        try:
            beside = open_directory(str(self._place))
            try:
                self._rename(_FILES, version, source_dir=beside, target_dir=into)
            finally:
                os.close(beside)
            os.fsync(into)
        finally:
            os.close(into)
        self.discard()

    def _note(self) -> FetchedPart | None:
        try:
            with open_regular(self._place / _NOTE) as file:
                return msgspec.json.decode(file.read(MAX_NOTE_BYTES), type=FetchedPart)
        except (FileNotFoundError, *UNREADABLE):
            return None

    def _walked(self) -> dict[str, int]:
        """The size of each file by its path."""
        found = dict[str, int]()
        for place, _, files in os.walk(self._files):
            for name in files:
                path = Path(place, name)
                found[str(path.relative_to(self._files))] = path.lstat().st_size
        return found


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
