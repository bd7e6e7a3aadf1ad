"""The part of one file that is being downloaded: its bytes, their digests, and a note of which content it is of.

It decides nothing about the server. Blocks. Invariant: a file has its own name only when it is complete and synced; the
note beside it then holds its length and its SHA-256.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from ...worker.shared.durable_files import sync_directory
from ...worker.shared.unreadable import UNREADABLE

PART: Final = ".part"
NOTE: Final = ".note"
_PIECE_BYTES: Final = 1 << 20
_GIT_DIGITS: Final = 40
_MAX_NOTE_BYTES: Final = 65_536
_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


class WantedFile(Struct, frozen=True):
    """A file to download. `bytes` is -1 where the length is not known. `digest` is the SHA-256 of the content, or the
    SHA-1 that Git gives a blob, in small hexadecimal digits; "" where none is promised.
    """

    url: str
    bytes: int = -1
    digest: str = ""


class Downloaded(Struct, frozen=True):
    """A file that is done."""

    bytes: int
    sha256: str


class PartNote(Struct):
    """What is remembered beside a part. `validator` is an ETag or a date of the server, `bytes` the promised length.
    `sha256` is that of the complete file, or of a whole one that was not the promised one.
    """

    url: str
    validator: str = ""
    bytes: int = -1
    digest: str = ""
    complete: bool = False
    sha256: str = ""


class FilePart:
    """See the module. `offset` is where the next byte belongs."""

    def __init__(self, wanted: WantedFile, place: Path, aside: Path, *, whole: bool = False) -> None:
        """`place` is where the file belongs, `aside` what part and note are called, with an ending each. `whole`: all
        of it is there, put there by another program.
        """
        self._place, self._wanted = place, wanted
        self.path, self._note_path = aside.with_name(aside.name + PART), aside.with_name(aside.name + NOTE)
        self._file: int | None = None
        self.note = self._read_note()
        self.offset = self.on_disk() if whole or self._continues() else 0
        self._hashes = _hashes(wanted)
        if self.offset:
            self._hash_what_is_there()

    def on_disk(self) -> int:
        """How much is on the disk."""
        try:
            return os.stat(self.path).st_size
        except FileNotFoundError:
            return 0

    def done(self) -> Downloaded | None:
        """The file, when it is complete and is of what is wanted."""
        with suppress(FileNotFoundError):
            there = os.stat(self._place).st_size
            fits = self.note.complete and self.note.bytes == there and self._wanted.bytes in (-1, there)
            if fits and self._is_of_the_same():
                return Downloaded(there, self.note.sha256)
        return None

    def begin(self, validator: str, promised_bytes: int) -> None:
        """Opens the part for what the server sends now."""
        self.note = PartNote(
            self._wanted.url, validator, promised_bytes, self._wanted.digest, sha256=self._wrong_before()
        )
        self._write_note()
        self._file = os.open(self.path, _FLAGS, 0o600)
        os.ftruncate(self._file, self.offset)
        os.lseek(self._file, self.offset, os.SEEK_SET)

    def write(self, piece: bytes) -> None:
        """Adds to it. Raises OSError."""
        assert self._file is not None
        view = memoryview(piece)
        while view:
            view = view[os.write(self._file, view) :]
        for found in self._hashes.values():
            found.update(piece)
        self.offset += len(piece)

    def digest(self) -> str:
        """Of what is there, of the kind that is promised."""
        return str(self._hashes["git" if "git" in self._hashes else "sha256"].hexdigest())

    def restart(self) -> None:
        """Forgets what came."""
        self.close()
        with suppress(FileNotFoundError):
            os.unlink(self.path)
        self.offset, self._hashes = 0, _hashes(self._wanted)

    def wrong(self) -> bool:
        """Forgets a whole file that is not the promised one; whether the same came before."""
        sha256 = self._sha256()
        again = self._wrong_before() == sha256
        self.restart()
        self.note.complete, self.note.sha256 = False, "" if again else sha256
        self._write_note()
        return again

    def finish(self) -> Downloaded:
        """Syncs the file and gives it its name."""
        found = Downloaded(self.offset, self._sha256())
        if self._file is None:
            self._file = os.open(self.path, _FLAGS, 0o600)
        os.fsync(self._file)
        self.close()
        os.replace(self.path, self._place)
        self.note = PartNote(
            self._wanted.url, self.note.validator, found.bytes, self._wanted.digest, complete=True, sha256=found.sha256
        )
        self._write_note()
        sync_directory(self._place.parent)
        return found

    def close(self) -> None:
        """Closes the file; what came stays."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _continues(self) -> bool:
        """Whether what is there is the beginning of what is wanted: by its digest, or as the server will check."""
        if self.note.complete or not self._is_of_the_same() or not (self._wanted.digest or self.note.validator):
            return False
        most = self._wanted.bytes if self._wanted.bytes >= 0 else self.note.bytes
        return most < 0 or self.on_disk() <= most

    def _is_of_the_same(self) -> bool:
        if self.note.digest != self._wanted.digest:
            return False
        return bool(self._wanted.digest) or self.note.url == self._wanted.url

    def _wrong_before(self) -> str:
        return "" if self.note.complete or self.note.digest != self._wanted.digest else self.note.sha256

    def _sha256(self) -> str:
        return str(self._hashes["sha256"].hexdigest())

    def _hash_what_is_there(self) -> None:
        with open(self.path, "rb") as file:
            while piece := file.read(_PIECE_BYTES):
                for found in self._hashes.values():
                    found.update(piece)

    def _read_note(self) -> PartNote:
        with suppress(OSError, *UNREADABLE), open(self._note_path, "rb") as file:
            return msgspec.json.decode(file.read(_MAX_NOTE_BYTES), type=PartNote)
        return PartNote("")

    def _write_note(self) -> None:
        aside = self._note_path.with_name(f"{self._note_path.name}.new")
        aside.write_bytes(msgspec.json.encode(self.note))
        os.replace(aside, self._note_path)


def _hashes(wanted: WantedFile) -> dict[str, Any]:
    """SHA-256; and where that is promised Git's digest of a blob, which begins with its length."""
    found: dict[str, Any] = {"sha256": hashlib.sha256()}
    if len(wanted.digest) == _GIT_DIGITS:
        found["git"] = hashlib.sha1(f"blob {wanted.bytes}\0".encode(), usedforsecurity=False)
    return found
