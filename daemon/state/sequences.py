"""The numbers of signatures that were taken: of versions, and of records of a fleet. An older one is no longer good.

It knows a connection and no rule. Invariant: the row with the highest number of its kind is never dropped.
"""

from __future__ import annotations

import sqlite3
from typing import Final

from msgspec import Struct

TABLE: Final = """
CREATE TABLE IF NOT EXISTS taken (
  kind TEXT NOT NULL, name TEXT NOT NULL, digest TEXT NOT NULL, sequence INTEGER NOT NULL, issued REAL NOT NULL,
  content TEXT NOT NULL, time REAL NOT NULL, PRIMARY KEY (kind, name, digest)) STRICT;
"""
VERSION, RECORD = "version", "record"
MAX_ROWS: Final = {VERSION: 500, RECORD: 5}
"""Versions are remembered so that one may go back to them; of records only the last counts."""


class TakenRow(Struct, frozen=True):
    """What was taken last. `content` is the record with its signature, `issued` its wall seconds."""

    digest: str
    sequence: int
    issued: float
    content: str


def take(db: sqlite3.Connection, kind: str, name: str, row: TakenRow, now: float) -> None:
    """Remembers it, and drops the oldest beyond MAX_ROWS, in one transaction."""
    with db:
        db.execute("BEGIN")
        db.execute(
            "INSERT OR REPLACE INTO taken VALUES (?, ?, ?, ?, ?, ?, ?)",
            (kind, name, row.digest, row.sequence, row.issued, row.content, now),
        )
        db.execute(
            "DELETE FROM taken WHERE kind = ?1 AND sequence < (SELECT max(sequence) FROM taken WHERE kind = ?1)"
            " AND rowid NOT IN (SELECT rowid FROM taken WHERE kind = ?1 ORDER BY time DESC, rowid DESC LIMIT ?2)",
            (kind, MAX_ROWS[kind]),
        )


def newest(db: sqlite3.Connection, kind: str) -> TakenRow | None:
    """The row with the highest number; of equal ones, the last. Raises sqlite3.DatabaseError for a damaged one."""
    row = db.execute(
        "SELECT digest, sequence, issued, content FROM taken WHERE kind = ? ORDER BY sequence DESC, time DESC LIMIT 1",
        (kind,),
    ).fetchone()
    if row is None:
        return None
    if not all(map(isinstance, row, (str, int, float, str))):  # a file that is damaged keeps no types
        raise sqlite3.DatabaseError("a row of the numbers that were taken is damaged")
    return TakenRow(*row)


def digests(db: sqlite3.Connection, kind: str, name: str) -> tuple[str, ...]:
    """What was taken under this name."""
    rows = db.execute("SELECT digest FROM taken WHERE kind = ? AND name = ? ORDER BY digest", (kind, name))
    return tuple(digest for (digest,) in rows)
