"""Copies the rows of the state between the file and memory: all small tables, and history up to a limit.

It knows two connections and no path. Invariant: the file gets everything that memory holds in one transaction, or
nothing.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Final

from msgspec import Struct

MAX_LINES: Final = 2_000
MAX_BYTES: Final = 4 << 20
"""The limit of history in memory."""
_COLUMNS: Final = {"verdicts": 5, "sightings": 4, "held": 3, "facts": 2, "taken": 7}
_LINES: Final = "SELECT id, time, kind, version, because, detail FROM history"
Line = tuple[int, float, str, str, str, str]


class LoadedRows(Struct, frozen=True):
    """What memory knows of the file. `newest` is the newest line of history in the file, 0 for none.

    `whole`: no table was left out.
    """

    newest: int = 0
    whole: bool = False


def load(source: sqlite3.Connection, memory: sqlite3.Connection) -> LoadedRows:
    """Reads into memory what can be read. A damaged table does not affect the others."""
    newest, whole = 0, True
    for table, columns in _COLUMNS.items():
        try:
            if table == "taken" and not _exists(source, table):
                continue  # a file of an earlier release
            rows = source.execute(f"SELECT * FROM {table}").fetchall()
            memory.executemany(_into(table, columns), rows)
        except (sqlite3.Error, UnicodeDecodeError):
            whole = False
    try:
        lines = list(_newest(source))
        memory.executemany(_into("history", 6), reversed(lines))
        newest = lines[0][0] if lines else 0
    except (sqlite3.Error, UnicodeDecodeError):
        whole = False
    return LoadedRows(newest, whole)


def _exists(source: sqlite3.Connection, table: str) -> bool:
    return source.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone() is not None


def _newest(source: sqlite3.Connection) -> Iterator[Line]:
    size = 0
    for line in source.execute(f"{_LINES} ORDER BY id DESC LIMIT ?", (MAX_LINES,)):
        size += len(line[4]) + len(line[5])
        if size > MAX_BYTES:
            return
        yield line


def keep(memory: sqlite3.Connection, target: sqlite3.Connection, loaded: LoadedRows) -> int:
    """Writes what memory holds to the file. Returns how many lines of history memory had dropped. Raises sqlite3.Error.

    If the file has other content than was loaded, rows are added. Where both have a row, that of memory wins.
    """
    (held,) = memory.execute("SELECT min(id) FROM history").fetchone()
    target.execute("BEGIN IMMEDIATE")
    try:
        (newest,) = target.execute("SELECT max(id) FROM history").fetchone()
        known = newest is None or (loaded.whole and newest == loaded.newest)
        for table, columns in _COLUMNS.items():
            if known:
                target.execute(f"DELETE FROM {table}")
            target.executemany(_into(table, columns), memory.execute(f"SELECT * FROM {table}"))
        after = min(newest or 0, loaded.newest)
        lines = memory.execute(f"{_LINES} WHERE id > ? ORDER BY id", (after,))
        if known:  # by the numbers that people have seen
            target.executemany(_into("history", 6), lines)
        else:
            target.executemany(
                "INSERT INTO history (time, kind, version, because, detail) VALUES (?, ?, ?, ?, ?)",
                (line[1:] for line in lines),
            )
        target.execute("COMMIT")
    except BaseException:
        if target.in_transaction:
            target.execute("ROLLBACK")
        raise
    return max(0, (held or 0) - loaded.newest - 1)


def _into(table: str, columns: int) -> str:
    return f"INSERT OR REPLACE INTO {table} VALUES ({', '.join('?' * columns)})"
