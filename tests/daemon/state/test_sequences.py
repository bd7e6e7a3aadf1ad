"""The numbers of signatures outlive the daemon, are bounded, and come to files of earlier releases."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from tests.fakes.clock import FakeClock

from modelward.daemon.state import database_file, sequences
from modelward.daemon.state import rows as state_rows
from modelward.daemon.state.sequences import MAX_ROWS, RECORD, VERSION, TakenRow
from modelward.daemon.state.store import Store


def opened(path: Path) -> closing[Store]:
    return closing(Store(path / "state.db", FakeClock()))


def test_the_highest_number_is_remembered_and_what_was_accepted_under_each_name(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        assert (store.highest_sequence(), store.taken_digests("v1"), store.taken_record()) == (0, (), None)
        store.take_version("v1", "aa", 7)
        store.take_version("v2", "bb", 9)
        store.take_version("v1", "cc", 8)
        store.take_record(TakenRow("dd", 3, 5.0, "text"))
    with opened(tmp_path) as store:
        assert store.highest_sequence() == 9
        assert store.taken_digests("v1") == ("aa", "cc")
        assert store.taken_record() == TakenRow("dd", 3, 5.0, "text")


def test_rows_are_bounded_and_the_highest_number_stays(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.take_version("highest", "first of all", 10_000)
        for number in range(MAX_ROWS[VERSION] + 20):
            store.take_version("v", f"{number}", number + 1)
        for number in range(20):
            store.take_record(TakenRow(f"{number}", number + 1, 0.0, ""))
        assert store.highest_sequence() == 10_000
        assert len(store.taken_digests("v")) == MAX_ROWS[VERSION]
        assert "0" not in store.taken_digests("v")
        record = store.taken_record()
        assert record is not None
        assert record.sequence == 20
    with closing(sqlite3.connect(tmp_path / "state.db")) as db:
        assert db.execute("SELECT count(*) FROM taken WHERE kind = ?", (RECORD,)).fetchone() == (MAX_ROWS[RECORD],)


def test_a_file_of_an_earlier_release_is_read_and_gets_the_table(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.hold(["v1"], "of before")
    with closing(sqlite3.connect(tmp_path / "state.db")) as db:
        db.execute("DROP TABLE taken")
        loaded = state_rows.load(db, database_file.open_memory())
        assert loaded.whole  # nothing is missing of it, also where it cannot be written
    with opened(tmp_path) as store:
        store.take_version("v2", "aa", 1)
        assert (store.held(), store.highest_sequence()) == ({"v1": "of before"}, 1)


def test_a_damaged_row_is_an_error_of_the_database_and_no_number() -> None:
    with closing(sqlite3.connect(":memory:")) as db:
        db.execute("CREATE TABLE taken (kind, name, digest, sequence, issued, content, time)")  # keeps no types
        db.execute("INSERT INTO taken VALUES (?, '', 'd', 7, 1.5, x'ff', 0)", (RECORD,))
        with pytest.raises(sqlite3.DatabaseError, match="damaged"):
            sequences.newest(db, RECORD)
