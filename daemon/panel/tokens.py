"""The panel's tokens: one a line in a file, read again when it changes.

Fails closed: a file that cannot be read or holds no token lets nobody in. A token is compared in the same time whether
its first or its last character is wrong, and is kept here as its SHA-256 only.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import stat
from collections.abc import Callable
from typing import Final

MAX_FILE_BYTES: Final = 64 * 1024
MAX_TOKEN_CHARS: Final = 4096
_READ: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY


def mark_of(token: str) -> str:
    """What stands for a token in memory."""
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


class Tokens:
    """The tokens of one file; `path` "" means that none is asked for. `complain` hears, once, of a file that fails."""

    def __init__(self, path: str, complain: Callable[[str], None]) -> None:
        self._path, self._complain = path, complain
        self._seen: tuple[int, ...] = ()
        self._marks: tuple[str, ...] = ()

    @property
    def configured(self) -> bool:
        return bool(self._path)

    def check(self, token: str) -> str:
        """The mark of a good token, "" for any other."""
        if not token or len(token) > MAX_TOKEN_CHARS:
            return ""
        return self.still_good(mark_of(token))

    def still_good(self, mark: str) -> str:
        """The mark itself while its token is in the file, else ""."""
        good = False
        for known in self._read():
            good |= hmac.compare_digest(mark, known)
        return mark if good and mark else ""

    def _read(self) -> tuple[str, ...]:
        try:
            fd = os.open(self._path, _READ)
            try:
                found = os.fstat(fd)
                seen = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
                if seen != self._seen:
                    self._marks = self._marks_in(fd, found)
                    self._seen = seen
            finally:
                os.close(fd)
        except OSError as e:
            if self._seen != (0,):
                self._complain(f"cannot read the token file {self._path}: {e.strerror}; nobody is let in")
            self._seen, self._marks = (0,), ()
        return self._marks

    def _marks_in(self, fd: int, found: os.stat_result) -> tuple[str, ...]:
        if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_FILE_BYTES:
            self._complain(f"cannot use the token file {self._path}: no small regular file; nobody is let in")
            return ()
        text = os.read(fd, MAX_FILE_BYTES).decode("utf-8", "replace")
        lines = [line.strip() for line in text.splitlines()]
        marks = tuple(mark_of(line) for line in lines if line and not line.startswith("#"))
        if not marks:
            self._complain(f"cannot use the token file {self._path}: it holds no token; nobody is let in")
        return marks
