"""Reads a file of bearer tokens for the service and for the panel: one token a line, "#" begins a comment.

A file is used whole or not at all. With a file of another kind, too large, unreadable, damaged or without a token, no
token is accepted, and `problem` gives the reason. It must not wait for another program: it never opens a FIFO or a
device. It may wait for a disk: a program with an event loop uses `fresh_tokens`. A symbolic link is followed, because
secrets are often mounted as links. Tokens are kept as their SHA-256 only, and all of them are compared.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import stat
from collections.abc import Callable
from typing import Final

MAX_FILE_BYTES: Final = 64 * 1024
MAX_TOKEN_CHARS: Final = 4096
MAX_PLEDGE_CHARS: Final = 200
_FLAGS: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY

Seen = tuple[int, ...]


class BadTokenFile(ValueError):
    """The file cannot be used; the text gives the reason."""


def mark_of(token: str) -> str:
    """The identifier of a token in memory."""
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def tokens_in(data: bytes) -> tuple[str, ...]:
    """The tokens in a whole file. Pure. Raises BadTokenFile when a line cannot be a token, or no line is one."""
    try:
        lines = data.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError:
        raise BadTokenFile("it is not UTF-8 text") from None
    tokens = []
    for number, line in enumerate(lines, 1):
        token = line.strip()
        if not token or token.startswith("#"):
            continue
        if len(token) > MAX_TOKEN_CHARS:
            raise BadTokenFile(f"line {number} is longer than {MAX_TOKEN_CHARS} characters")
        if not token.isprintable():
            raise BadTokenFile(f"line {number} holds control characters")
        tokens.append(token)
    if not tokens:
        raise BadTokenFile("it holds no token")
    return tuple(tokens)


class TokensFile:
    """The tokens of the file at `path` ("": no token is needed), read again when it changes.

    `report` is called once for each new reason why the file cannot be used. `marks` replace its tokens while this
    process cannot see the file (see sandbox.worker_sandbox); a process that can see it has read them.
    """

    def __init__(self, path: str, report: Callable[[str], None], marks: tuple[str, ...] = ()) -> None:
        self._path, self._report, self._told = path, report, marks
        self._seen: Seen | None = None
        self._marks: tuple[str, ...] = ()
        self._problem = ""

    @property
    def configured(self) -> bool:
        """Whether a token is needed."""
        return bool(self._path)

    def problem(self) -> str:
        """Why no token is accepted, as the file is now; "" while it is good or no token is needed."""
        if self._path:
            self._look()
        return self._problem

    def check(self, token: str) -> str:
        """The mark of a good token, "" for any other."""
        if not token or len(token) > MAX_TOKEN_CHARS:
            return ""
        return self.still_good(mark_of(token))

    def marks(self) -> tuple[str, ...]:
        """The current marks of its tokens; none while the file cannot be used."""
        if self._path:
            self._look()
        return self._marks

    def still_good(self, mark: str) -> str:
        """The mark itself while its token is in the file, else "". Takes the same time for every wrong one."""
        if not self._path:
            return ""
        self._look()
        good = False
        for known in self._marks:
            good |= hmac.compare_digest(mark, known)
        return mark if good and mark else ""

    def pledge(self, token: str) -> str:
        """What a browser may keep instead of a good token: it reveals nothing of it and ends with it. "" for others."""
        mark, nonce = self.check(token), secrets.token_hex(16)
        return f"{nonce}.{_signature(mark, nonce)}" if mark else ""

    def knows_pledge(self, pledge: str) -> bool:
        """Whether its token is in the file now."""
        return bool(self.mark_of_pledge(pledge))

    def mark_of_pledge(self, pledge: str) -> str:
        """The mark of its token in the file; "" for none."""
        nonce, _, given = pledge.partition(".")
        if not self._path or not nonce.isascii() or not given.isascii() or len(pledge) > MAX_PLEDGE_CHARS:
            return ""
        self._look()
        found = ""
        for mark in self._marks:
            found = mark if hmac.compare_digest(given, _signature(mark, nonce)) else found
        return found

    def _look(self) -> None:
        try:
            found = os.stat(self._path)  # which no confinement forbids
            if _identity(found) == self._seen:
                return
            self._seen = None
            data, seen = _read(self._path)
            self._marks, self._problem = tuple(mark_of(token) for token in tokens_in(data)), ""
            self._seen = seen
        except (OSError, ValueError) as e:
            if self._told and isinstance(e, PermissionError):
                self._marks, self._problem = self._told, ""
                return
            because = (e.strerror or str(e)) if isinstance(e, OSError) else str(e)
            self._fail(f"cannot use the token file {self._path}: {because}; no token is accepted")

    def _fail(self, problem: str) -> None:
        self._marks = ()
        if problem != self._problem:
            self._report(problem)
        self._problem = problem


def _signature(mark: str, nonce: str) -> str:
    return hmac.new(mark.encode(), b"modelward page " + nonce.encode(), hashlib.sha256).hexdigest()


def _identity(found: os.stat_result) -> Seen:
    return found.st_dev, found.st_ino, found.st_mode, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _read(path: str) -> tuple[bytes, Seen]:
    """All bytes of a small regular file, and its stat result. Raises OSError, BadTokenFile."""
    _check(os.stat(path))  # checked first: opening a device may have an effect already
    fd = os.open(path, _FLAGS)
    try:
        before = os.fstat(fd)
        _check(before)
        data = b""
        while len(data) <= MAX_FILE_BYTES and (more := os.read(fd, MAX_FILE_BYTES + 1 - len(data))):
            data += more
        if len(data) != before.st_size or _identity(os.fstat(fd)) != _identity(before):
            raise BadTokenFile("it changes while it is read")
        return data, _identity(before)
    finally:
        os.close(fd)


def _check(found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise BadTokenFile("it is not a regular file")
    if found.st_size > MAX_FILE_BYTES:
        raise BadTokenFile(f"it is larger than {MAX_FILE_BYTES} bytes")
