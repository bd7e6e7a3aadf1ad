"""The file of the state: opens it, reads it without writing, recognises it, and moves it aside when it is damaged.

It decides nothing about the content. Invariant: a file that a newer modelward wrote is never replaced or written.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final
from urllib.parse import quote

from ..errors import ModelwardError
from . import sequences

MAX_DAMAGED: Final = 3
CACHE_KIB: Final = 256
SCHEMA_VERSION: Final = 1
MODE: Final = 0o640
OPENED: Final = "opened"
"""A fact that is written at each opening: only a write shows whether there is space for one."""
_SCHEMA: Final = """
CREATE TABLE history (
  id INTEGER PRIMARY KEY AUTOINCREMENT, time REAL NOT NULL, kind TEXT NOT NULL, version TEXT NOT NULL,
  because TEXT NOT NULL, detail TEXT NOT NULL) STRICT;
CREATE TABLE verdicts (
  digest TEXT NOT NULL, version TEXT NOT NULL, conditions TEXT NOT NULL, verdict TEXT NOT NULL, time REAL NOT NULL,
  PRIMARY KEY (digest, version)) STRICT;
CREATE TABLE sightings (
  version TEXT PRIMARY KEY, fingerprint TEXT NOT NULL, digest TEXT NOT NULL, arrived REAL NOT NULL) STRICT;
CREATE TABLE held (version TEXT PRIMARY KEY, because TEXT NOT NULL, time REAL NOT NULL) STRICT;
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
"""
_LATER: Final = sequences.TABLE
"""Tables that a file of an earlier release gets when it is opened; that release passes over them."""
Place = tuple[tuple[int, int] | None, ...]
"""Device and inode of the file and of the log beside it; None for one that does not exist."""


class CannotOpen(ModelwardError):
    """The state cannot be used, and must not be replaced either. The text gives the reason."""


def open_file(
    path: Path, wall: float, *, damaged: bool = False, wait_seconds: float = 5.0
) -> tuple[sqlite3.Connection, Path | None]:
    """The file, open for writing, and where a damaged one was moved; `damaged` when it is known to be.

    It waits for `wait_seconds` for another process that holds the file. Raises CannotOpen, sqlite3.Error, OSError,
    UnicodeDecodeError.
    """
    path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    aside = _put_aside(path, wall) if damaged and path.exists() else None
    try:
        return _connect(path, wall, wait_seconds), aside
    except (sqlite3.DatabaseError, UnicodeDecodeError) as e:  # the second one: SQLite quotes damaged text
        if not is_damage(e):
            raise  # no space or no right: the file itself may be whole
    aside = _put_aside(path, wall)
    return _connect(path, wall, wait_seconds), aside


def open_memory() -> sqlite3.Connection:
    """The same tables in memory, empty."""
    db = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    db.executescript(f"BEGIN; {_SCHEMA} {_LATER} COMMIT;")
    return db


def open_for_reading(path: Path) -> sqlite3.Connection:
    """The file and its log for reading, where nothing at all can be written.

    It takes no locks: the caller is the only daemon of this directory. Raises CannotOpen, sqlite3.Error and OSError.
    """
    log = Path(f"{path}-wal")
    how = "vfs=unix-none" if log.exists() and log.stat().st_size else "immutable=1"  # it must not create a log
    place = f"file:{quote(str(path))}?mode=ro&{how}"
    db = sqlite3.connect(place, uri=True, isolation_level=None, check_same_thread=False)
    try:
        db.execute("PRAGMA locking_mode=EXCLUSIVE")  # so SQLite needs no file beside it to read the log
        db.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
        if _schema(db, path) and db.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
            raise sqlite3.DatabaseError("it fails the check of SQLite")
    except (sqlite3.Error, UnicodeDecodeError, CannotOpen):
        db.close()
        raise
    return db


def is_damage(error: Exception) -> bool:
    """Whether an error of SQLite means that the content is damaged."""
    if isinstance(error, UnicodeDecodeError):
        return True
    if isinstance(error, sqlite3.OperationalError):
        return "malformed" in str(error)
    return isinstance(error, sqlite3.DatabaseError)


def place_of(path: Path) -> Place:
    """The identity of the files that have the names now."""
    found: list[tuple[int, int] | None] = []
    for suffix in ("", "-wal"):
        try:
            seen = os.stat(f"{path}{suffix}")
        except OSError:
            found.append(None)
        else:
            found.append((seen.st_dev, seen.st_ino))
    return tuple(found)


def is_absent(path: Path) -> bool:
    """Whether there is certainly no file. Raises OSError when that cannot be known."""
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    return False


def is_empty(db: sqlite3.Connection) -> bool:
    """Whether nothing was ever kept in it: the tables come together with the schema version."""
    (version,) = db.execute("PRAGMA user_version").fetchone()
    return int(version) == 0


def is_lost(path: Path, place: Place) -> bool:
    """Whether the file was removed or replaced since it was opened. SQLite would go on writing to a file without a
    name.
    """
    return any(then is not None and then != now for then, now in zip(place, place_of(path), strict=True))


def _put_aside(path: Path, wall: float) -> Path:
    prefix = f"{path.name}.damaged-"
    earlier = sorted(path.parent.glob(f"{prefix}*"), key=lambda path: path.stat().st_mtime)
    for old in earlier[: max(0, len(earlier) + 1 - MAX_DAMAGED)]:
        old.unlink()
    aside = path.with_name(f"{prefix}{int(wall)}")
    os.replace(path, aside)
    for suffix in ("-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
    return aside


def _close_to_others(path: Path) -> None:
    """Makes the file, and the files of SQLite beside it, readable for owner and group only: it holds history."""
    os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, MODE))
    for suffix in ("", "-wal", "-shm"):
        name = f"{path}{suffix}"
        with suppress(FileNotFoundError, PermissionError):  # of another user: it is used as it is
            mode = stat.S_IMODE(os.stat(name).st_mode)
            if mode & ~MODE:
                os.chmod(name, mode & MODE)


def _schema(db: sqlite3.Connection, path: Path) -> int:
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version not in (0, SCHEMA_VERSION):
        raise CannotOpen(
            f"cannot use {path}: another modelward wrote it (schema {version}, this one knows "
            f"{SCHEMA_VERSION}); run that one, or move the file away and lose history and held versions"
        )
    return int(version)


def _connect(path: Path, wall: float, wait_seconds: float) -> sqlite3.Connection:
    _close_to_others(path)
    db = sqlite3.connect(path, isolation_level=None, timeout=wait_seconds, check_same_thread=False)
    try:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        db.execute(f"PRAGMA cache_size=-{CACHE_KIB}")  # the check below reads every page
        if not _schema(db, path):
            db.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version={SCHEMA_VERSION}; COMMIT;")
        elif db.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
            raise sqlite3.DatabaseError("it fails the check of SQLite")
        db.executescript(_LATER)
        db.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (OPENED, f"{wall:.3f}"))
    except (sqlite3.Error, UnicodeDecodeError, CannotOpen):
        db.close()
        raise
    return db
