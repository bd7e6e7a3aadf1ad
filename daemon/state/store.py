"""The daemon's state: what happened, verdicts by digest, held versions, and a few facts.

One SQLite file in WAL mode with full syncs: what was acknowledged survives a power cut. The served version never
depends on it: the link and the directories decide that. A lost file costs the history and a new validation of each
version. While the file cannot be written, the state stays in memory, and is written to the file as soon as possible.
History is bounded in rows and bytes, a version has one verdict, and the caller of `forget` drops what it no longer
needs. Used from one thread at a time.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from ..system.clock import Clock, rfc3339
from . import database_file, sequences
from . import rows as state_rows
from .database_file import CannotOpen
from .rows import LoadedRows
from .write_errors import Trouble, is_of_the_file, trouble

__all__ = ["CannotOpen", "HistoryEntry", "Sighting", "Store"]

MAX_HISTORY_ROWS: Final = 10_000
MAX_ID: Final = 2**63 - 1
MAX_HISTORY_BYTES: Final = 32 << 20
MAX_DETAIL_BYTES: Final = 128 << 10
PRUNE_EVERY: Final = 100
RETURN_WAIT_SECONDS: Final = 1.0
"""How long each new try waits for another process that holds the file."""


class HistoryEntry(Struct, frozen=True):
    """One line of history. `time` is RFC 3339 in UTC; `detail` is ready for JSON."""

    id: int
    time: str
    kind: str
    version: str
    because: str
    detail: dict[str, Any]


class Sighting(Struct, frozen=True):
    """A version directory as it was when it was last judged."""

    fingerprint: str
    digest: str
    arrived: float


class Store:
    """See the module. Raises CannotOpen; later sqlite3.Error and OSError.

    A damaged file is moved aside (`damaged` is its new place) and replaced. A file that a newer modelward wrote is not
    replaced, because versions held in it could then be chosen again. `trouble` is why the state is in memory only, None
    while the file has it.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path, self.clock = path, clock
        self._written = 0
        self._damaged = False
        self._loaded = LoadedRows()
        self.damaged: Path | None = None
        self.trouble: Trouble | None = None
        self._place: database_file.Place = ()
        try:
            self._db, self.damaged = database_file.open_file(path, clock.wall())
            self._prune_history()
            self._prune_verdicts()
        except (sqlite3.Error, OSError, UnicodeDecodeError) as e:
            self._db = self._read_file()
            self.trouble = trouble(path, e)
        else:
            self._place = database_file.place_of(path)

    # memory, while the file cannot be used

    def _read_file(self) -> sqlite3.Connection:
        """A store in memory with the content of the file. Raises CannotOpen."""
        memory = database_file.open_memory()
        with suppress(sqlite3.Error, OSError, UnicodeDecodeError):
            if database_file.is_absent(self._path):
                self._loaded = LoadedRows(whole=True)
                return memory
            source = database_file.open_for_reading(self._path)
            try:
                empty = database_file.is_empty(source)  # one that was begun where there was no space for its tables
                self._loaded = LoadedRows(whole=True) if empty else state_rows.load(source, memory)
            finally:
                source.close()
        return memory

    @property
    def unread(self) -> bool:
        """Whether there is a file with unknown content: it may name held versions."""
        return self.trouble is not None and not self._loaded.whole

    def leave_file(self, error: Exception) -> bool:
        """Moves the state to memory after an error of the file. False when it was another error, or the state is there
        already.
        """
        if self.trouble is not None or not is_of_the_file(error):
            return False
        self._damaged = database_file.is_damage(error)
        self._to_memory(trouble(self._path, error))
        return True

    def _to_memory(self, because: Trouble) -> None:
        memory = database_file.open_memory()
        self._loaded = state_rows.load(self._db, memory)
        with suppress(sqlite3.Error):
            self._db.close()
        self._db, self.trouble = memory, because

    def check(self) -> str:
        """Brings the state back to the file, if possible. Returns what was done, "" for nothing."""
        said = ""
        if self.trouble is None:
            if not database_file.is_lost(self._path, self._place):
                return ""
            said = f"{self._path} was removed or replaced; "
            self._to_memory(Trouble(f"{said}it is written again"))
        return f"{said}the state is in {self._path} again" if self._to_file() else ""

    def _to_file(self) -> bool:
        try:
            db, aside = database_file.open_file(
                self._path, self.clock.wall(), damaged=self._damaged, wait_seconds=RETURN_WAIT_SECONDS
            )
        except (sqlite3.Error, OSError, UnicodeDecodeError) as e:
            self.trouble = trouble(self._path, e)
            return False
        except CannotOpen as e:
            self.trouble = Trouble(str(e))
            return False
        self.damaged, self._damaged = aside or self.damaged, False
        try:
            missing = state_rows.keep(self._db, db, self._loaded)
        except (sqlite3.Error, UnicodeDecodeError) as e:
            self.trouble = trouble(self._path, e)
            with suppress(sqlite3.Error):
                db.close()
            return False
        self._db.close()
        self._db, self.trouble, self._place = db, None, database_file.place_of(self._path)
        if missing:
            self.record("history-dropped", "", f"{missing} lines: more than memory holds while the file had no room")
        return True

    def close(self) -> None:
        """Writes to the file what memory holds, if possible: otherwise `trouble` gives the reason."""
        if self.trouble is not None:
            self._to_file()
        self._db.close()

    # history

    def record(
        self, kind: str, version: str = "", because: str = "", *, happened: float | None = None, **detail: Any
    ) -> HistoryEntry:
        """Adds a line of history; it is on the disk when this returns. A detail beyond MAX_DETAIL_BYTES is left out.

        `happened`, in seconds since 1970, is for an event that is recorded later.
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
            with suppress(sqlite3.OperationalError):  # there is no space for this deletion: the line itself is kept
                self._prune_history()
        return HistoryEntry(cursor.lastrowid or 0, rfc3339(now), kind, version, because, detail)

    def history(self, count: int, kind: str = "", before: int = 0) -> list[HistoryEntry]:
        """The newest lines first, at most `count`; if given, only of one kind and older than line `before`."""
        rows = self._db.execute(
            "SELECT id, time, kind, version, because, detail FROM history"
            " WHERE ? IN ('', kind) AND id < ? ORDER BY id DESC LIMIT ?",
            (_text(kind), before or MAX_ID, max(0, min(count, MAX_HISTORY_ROWS))),
        )
        return [HistoryEntry(i, _moment(t), k, v, b, _object(d)) for i, t, k, v, b, d in rows]

    def _prune_history(self) -> None:
        rows, size = (MAX_HISTORY_ROWS, MAX_HISTORY_BYTES)
        if self.trouble is not None:
            rows, size = (state_rows.MAX_LINES, state_rows.MAX_BYTES)
        self._db.execute("DELETE FROM history WHERE id <= (SELECT max(id) FROM history) - ?", (rows,))
        self._db.execute(
            "DELETE FROM history WHERE id <= (SELECT id FROM (SELECT id, SUM(length(because) + length(detail))"
            " OVER (ORDER BY id DESC) AS bytes FROM history) WHERE bytes > ? ORDER BY id DESC LIMIT 1)",
            (size,),
        )

    def _prune_verdicts(self) -> None:
        """Drops verdicts on content that a version no longer has: nothing reads them again."""
        self._db.execute("DELETE FROM verdicts WHERE (version, digest) NOT IN (SELECT version, digest FROM sightings)")

    # verdicts and sightings

    def remember_verdict(self, version: str, sighting: Sighting, conditions: str, verdict: dict[str, Any]) -> None:
        """Keeps a verdict and what was judged, in one transaction. It replaces the former verdict of the version."""
        with self._db:
            self._db.execute("BEGIN")
            self._db.execute("DELETE FROM verdicts WHERE version = ?", (version,))
            self._db.execute(
                "INSERT INTO verdicts VALUES (?, ?, ?, ?, ?)",
                (sighting.digest, version, conditions, _json(verdict), self.clock.wall()),
            )
            self._db.execute(
                "INSERT OR REPLACE INTO sightings VALUES (?, ?, ?, ?)",
                (version, sighting.fingerprint, sighting.digest, sighting.arrived),
            )

    def verdict(self, version: str, digest: str, conditions: str) -> dict[str, Any] | None:
        """The verdict on this content under these conditions; None when it has to be judged (again)."""
        row = self._db.execute(
            "SELECT verdict FROM verdicts WHERE digest = ? AND version = ? AND conditions = ?",
            (digest, _text(version), conditions),
        ).fetchone()
        return None if row is None else _object(row[0]) or None

    def forget(self, versions: Iterable[str]) -> None:
        """Drops what is known of these versions. One that still exists is judged anew."""
        names = [(_text(version),) for version in versions]
        with self._db:
            self._db.execute("BEGIN")
            self._db.executemany("DELETE FROM verdicts WHERE version = ?", names)
            self._db.executemany("DELETE FROM sightings WHERE version = ?", names)

    def sightings(self) -> dict[str, Sighting]:
        """What is known of each version, in the order of the verdicts, oldest first."""
        rows = self._db.execute(
            "SELECT version, fingerprint, s.digest, arrived FROM sightings s LEFT JOIN verdicts USING (version)"
            " ORDER BY verdicts.rowid"
        )
        return {version: Sighting(fingerprint, digest, arrived) for version, fingerprint, digest, arrived in rows}

    # held versions

    def hold(self, versions: Iterable[str], because: str) -> None:
        with self._db:
            self._db.execute("BEGIN")
            self._db.executemany(
                "INSERT OR REPLACE INTO held VALUES (?, ?, ?)",
                [(_text(v), _text(because), self.clock.wall()) for v in versions],
            )

    def release(self, version: str) -> bool:
        """Removes the hold; returns whether there was one."""
        return self._db.execute("DELETE FROM held WHERE version = ?", (_text(version),)).rowcount > 0

    def held(self) -> dict[str, str]:
        """Held versions with their reasons."""
        return dict(self._db.execute("SELECT version, because FROM held").fetchall())

    # numbers of signatures

    def take_version(self, version: str, digest: str, sequence: int) -> None:
        """A signed version was accepted."""
        row = sequences.TakenRow(_text(digest), sequence, 0.0, "")
        sequences.take(self._db, sequences.VERSION, _text(version), row, self.clock.wall())

    def highest_sequence(self) -> int:
        """The highest number of an accepted version's signature; 0 for none."""
        found = sequences.newest(self._db, sequences.VERSION)
        return 0 if found is None else found.sequence

    def taken_digests(self, version: str) -> tuple[str, ...]:
        """What was accepted with a number under this name."""
        return sequences.digests(self._db, sequences.VERSION, _text(version))

    def take_record(self, row: sequences.TakenRow) -> None:
        """The record of a fleet was accepted."""
        sequences.take(self._db, sequences.RECORD, "", row, self.clock.wall())

    def taken_record(self) -> sequences.TakenRow | None:
        """The record of a fleet that was accepted last."""
        return sequences.newest(self._db, sequences.RECORD)

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
    """The JSON value of a row; `default` where a damaged row holds something else."""
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
    """The text as SQLite takes it: a reason may quote a file name that is not UTF-8."""
    return text.encode(errors="replace").decode()


def _json(value: Any) -> str:
    return _text(json.dumps(value, ensure_ascii=False))
