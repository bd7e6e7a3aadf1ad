"""The daemon's memory: what happened, verdicts by digest, held versions, and a few facts.

One SQLite file in WAL mode with full syncs: what was acknowledged survives a power cut. What is served never depends on
it: the link and the directories say that, so a lost file costs history and a new look at each version. Bounded in rows
and bytes. Used from one thread at a time.
"""

from __future__ import annotations

import json
import os
import sqlite3
import stat
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from .clock import Clock, rfc3339
from .errors import ModelwardError

MAX_HISTORY_ROWS: Final = 10_000
MAX_ID: Final = 2**63 - 1
MAX_HISTORY_BYTES: Final = 32 << 20
MAX_DETAIL_BYTES: Final = 128 << 10
MAX_DAMAGED: Final = 3
PRUNE_EVERY: Final = 100
CACHE_KIB: Final = 256
SCHEMA_VERSION: Final = 1
MODE: Final = 0o640
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


@dataclass(frozen=True)
class Entry:
    """One line of history. `time` is RFC 3339 in UTC; `detail` is JSON-ready."""

    id: int
    time: str
    kind: str
    version: str
    because: str
    detail: dict[str, Any]


@dataclass(frozen=True)
class Sighting:
    """What a version directory was when it was last judged."""

    fingerprint: str
    digest: str
    arrived: float


class CannotOpen(ModelwardError):
    """The state can't be used, and must not be replaced either: the text says why."""


class Store:
    """See the module. Raises CannotOpen; later sqlite3.Error and OSError.

    A damaged file is put aside (`damaged` says where) and replaced. One that a newer modelward wrote is not: versions
    held in it would be chosen again without a word.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path, self.clock = path, clock
        self._written = 0
        self.damaged: Path | None = None
        self._db = self._open()

    def _open(self) -> sqlite3.Connection:
        try:
            self._path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
            try:
                db = self._connect()
            except (sqlite3.DatabaseError, UnicodeDecodeError) as e:  # the second: SQLite quotes what is damaged
                if isinstance(e, sqlite3.OperationalError) and "malformed" not in str(e):
                    raise  # no space, no right: the file itself may be whole
                self._put_aside()
                db = self._connect()
            self._prune_history(db)
        except (sqlite3.Error, OSError, UnicodeDecodeError) as e:
            raise CannotOpen(f"cannot use {self._path}: {e}") from e
        return db

    def _put_aside(self) -> None:
        prefix = f"{self._path.name}.damaged-"
        earlier = sorted(self._path.parent.glob(f"{prefix}*"), key=lambda path: path.stat().st_mtime)
        for path in earlier[: max(0, len(earlier) + 1 - MAX_DAMAGED)]:
            path.unlink()
        self.damaged = self._path.with_name(f"{prefix}{int(self.clock.wall())}")
        os.replace(self._path, self.damaged)
        for suffix in ("-wal", "-shm"):
            Path(f"{self._path}{suffix}").unlink(missing_ok=True)

    def _close_to_others(self) -> None:
        """Makes the file, and what SQLite keeps beside it, readable for owner and group alone: it holds history."""
        os.close(os.open(self._path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, MODE))
        for suffix in ("", "-wal", "-shm"):
            path = f"{self._path}{suffix}"
            with suppress(FileNotFoundError, PermissionError):  # of another user: it is used as it is
                mode = stat.S_IMODE(os.stat(path).st_mode)
                if mode & ~MODE:
                    os.chmod(path, mode & MODE)

    def _connect(self) -> sqlite3.Connection:
        self._close_to_others()
        db = sqlite3.connect(self._path, isolation_level=None, timeout=5.0, check_same_thread=False)
        try:
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=FULL")
            db.execute(f"PRAGMA cache_size=-{CACHE_KIB}")  # the check below reads every page
            (version,) = db.execute("PRAGMA user_version").fetchone()
            if version not in (0, SCHEMA_VERSION):
                raise CannotOpen(
                    f"cannot use {self._path}: another modelward wrote it (schema {version}, this one knows "
                    f"{SCHEMA_VERSION}); run that one, or move the file away and lose history and held versions"
                )
            if version == 0:
                db.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version={SCHEMA_VERSION}; COMMIT;")
            elif db.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
                raise sqlite3.DatabaseError("it fails its own check")
        except (sqlite3.Error, UnicodeDecodeError, CannotOpen):
            db.close()
            raise
        return db

    def close(self) -> None:
        self._db.close()

    # history

    def record(
        self, kind: str, version: str = "", because: str = "", *, happened: float | None = None, **detail: Any
    ) -> Entry:
        """Adds a line of history; it is on the disk when this returns. A detail beyond MAX_DETAIL_BYTES is left out.

        `happened`, in seconds since 1970, is for what was not written down at once.
        """
        now, kept = self.clock.wall() if happened is None else happened, _json(detail)
        if len(kept) > MAX_DETAIL_BYTES:
            detail = {"left_out": f"{len(kept)} bytes"}
            kept = _json(detail)
        cursor = self._db.execute(
            "INSERT INTO history (time, kind, version, because, detail) VALUES (?, ?, ?, ?, ?)",
            (now, _text(kind), _text(version), _text(because[:MAX_DETAIL_BYTES]), kept),
        )
        self._written += 1
        if self._written % PRUNE_EVERY == 0:
            with suppress(sqlite3.OperationalError):  # no space to make space: the line itself is kept
                self._prune_history(self._db)
        return Entry(cursor.lastrowid or 0, rfc3339(now), kind, version, because, detail)

    def history(self, count: int, kind: str = "", before: int = 0) -> list[Entry]:
        """The newest lines, newest first, at most `count`; where given of one kind, and older than line `before`."""
        rows = self._db.execute(
            "SELECT id, time, kind, version, because, detail FROM history"
            " WHERE ? IN ('', kind) AND id < ? ORDER BY id DESC LIMIT ?",
            (_text(kind), before or MAX_ID, max(0, min(count, MAX_HISTORY_ROWS))),
        )
        return [Entry(i, _moment(t), k, v, b, _object(d)) for i, t, k, v, b, d in rows]

    @staticmethod
    def _prune_history(db: sqlite3.Connection) -> None:
        db.execute("DELETE FROM history WHERE id <= (SELECT max(id) FROM history) - ?", (MAX_HISTORY_ROWS,))
        db.execute(
            "DELETE FROM history WHERE id <= (SELECT id FROM (SELECT id, SUM(length(because) + length(detail))"
            " OVER (ORDER BY id DESC) AS bytes FROM history) WHERE bytes > ? ORDER BY id DESC LIMIT 1)",
            (MAX_HISTORY_BYTES,),
        )

    # verdicts and sightings

    def remember_verdict(self, version: str, sighting: Sighting, conditions: str, verdict: dict[str, Any]) -> None:
        """Keeps a verdict with what was judged, in one transaction."""
        with self._db:
            self._db.execute("BEGIN")
            self._db.execute(
                "INSERT OR REPLACE INTO verdicts VALUES (?, ?, ?, ?, ?)",
                (sighting.digest, version, conditions, _json(verdict), self.clock.wall()),
            )
            self._db.execute(
                "INSERT OR REPLACE INTO sightings VALUES (?, ?, ?, ?)",
                (version, sighting.fingerprint, sighting.digest, sighting.arrived),
            )

    def verdict(self, version: str, digest: str, conditions: str) -> dict[str, Any] | None:
        """The verdict on these bytes under these conditions; None when it has to be judged (again)."""
        row = self._db.execute(
            "SELECT verdict FROM verdicts WHERE digest = ? AND version = ? AND conditions = ?",
            (digest, _text(version), conditions),
        ).fetchone()
        return None if row is None else _object(row[0]) or None

    def forget_verdict(self, version: str) -> None:
        """The version is judged anew at the next look."""
        with self._db:
            self._db.execute("BEGIN")
            self._db.execute("DELETE FROM verdicts WHERE version = ?", (_text(version),))
            self._db.execute("DELETE FROM sightings WHERE version = ?", (_text(version),))

    def sightings(self) -> dict[str, Sighting]:
        rows = self._db.execute("SELECT version, fingerprint, digest, arrived FROM sightings")
        return {version: Sighting(fingerprint, digest, arrived) for version, fingerprint, digest, arrived in rows}

    def forget_gone(self, present: Iterable[str]) -> None:
        """Drops what is known of versions that no longer exist."""
        here = set(present)
        gone = [name for (name,) in self._db.execute("SELECT version FROM sightings") if name not in here]
        with self._db:
            self._db.execute("BEGIN")
            for name in gone:
                self._db.execute("DELETE FROM sightings WHERE version = ?", (name,))
                self._db.execute("DELETE FROM verdicts WHERE version = ?", (name,))

    # held versions

    def hold(self, versions: Iterable[str], because: str) -> None:
        with self._db:
            self._db.execute("BEGIN")
            self._db.executemany(
                "INSERT OR REPLACE INTO held VALUES (?, ?, ?)",
                [(_text(v), _text(because), self.clock.wall()) for v in versions],
            )

    def release(self, version: str) -> bool:
        """Whether it was held."""
        return self._db.execute("DELETE FROM held WHERE version = ?", (_text(version),)).rowcount > 0

    def held(self) -> dict[str, str]:
        """Held versions and why."""
        return dict(self._db.execute("SELECT version, because FROM held").fetchall())

    # facts

    def put(self, **facts: Any) -> None:
        """Keeps named JSON values, all or none."""
        with self._db:
            self._db.execute("BEGIN")
            self._db.executemany(
                "INSERT OR REPLACE INTO facts VALUES (?, ?)", [(n, _json(v)) for n, v in facts.items()]
            )

    def fact(self, name: str, default: Any = None) -> Any:
        row = self._db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return default if row is None else _value(row[0], default)


def _value(text: str, default: Any) -> Any:
    """JSON of a row; what a damaged row holds is as good as nothing."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return default


def _object(text: str) -> dict[str, Any]:
    value = _value(text, {})
    return value if isinstance(value, dict) else {}


def _moment(wall: float) -> str:
    try:
        return rfc3339(wall)
    except (ValueError, OverflowError, OSError):
        return rfc3339(0.0)


def _text(text: str) -> str:
    """As SQLite takes it: a file name that is no UTF-8 may be quoted in a reason."""
    return text.encode(errors="replace").decode()


def _json(value: Any) -> str:
    return _text(json.dumps(value, ensure_ascii=False))
