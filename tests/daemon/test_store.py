"""The daemon's memory on real files: damaged, foreign, full, killed in the middle of writing."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from tests.fakes.clock import FakeClock
from tests.small_disk import run_on_small_disk
from tests.support import PATIENCE_SECONDS, modules

from modelward.daemon import store as module
from modelward.daemon.clock import rfc3339
from modelward.daemon.store import CannotOpen, Entry, Sighting, Store

VERDICT = {"accepted": True, "because": "it decodes", "gates": []}


def opened(path: Path, clock: FakeClock | None = None) -> closing[Store]:
    return closing(Store(path / "state.db", clock or FakeClock()))


# history


def test_history_tells_the_newest_first_with_its_reason_and_its_time(tmp_path: Path) -> None:
    clock = FakeClock()
    with opened(tmp_path, clock) as store:
        store.record("accepted", "v1", "all gates passed", seconds=1.5)
        clock.advance(60)
        kept = store.record("activated", "v1")
        assert kept == Entry(2, rfc3339(clock.wall()), "activated", "v1", "", {})
    with opened(tmp_path) as store:
        assert [(e.kind, e.because, e.detail) for e in store.history(10)] == [
            ("activated", "", {}),
            ("accepted", "all gates passed", {"seconds": 1.5}),
        ]
        assert [e.id for e in store.history(1)] == [2]
        assert [e.kind for e in store.history(10, "accepted")] == ["accepted"]
        assert store.history(0) == store.history(-5) == []


def test_history_is_bounded_in_rows_however_often_the_daemon_starts(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.record("first")
    with closing(sqlite3.connect(tmp_path / "state.db")) as db, db:
        db.executemany(
            "INSERT INTO history (time, kind, version, because, detail) VALUES (0, 'x', '', '', ?)",
            [("{}",) for _ in range(module.MAX_HISTORY_ROWS + 50)],
        )
    with opened(tmp_path) as store:
        assert len(store.history(10**6)) == module.MAX_HISTORY_ROWS
        for _ in range(module.PRUNE_EVERY):
            last = store.record("x")
        assert len(store.history(10**6)) == module.MAX_HISTORY_ROWS
        assert store.history(1)[0].id == last.id


def test_history_is_bounded_in_bytes_the_newest_kept(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.record("first")
    with closing(sqlite3.connect(tmp_path / "state.db")) as db, db:
        db.executemany(
            "INSERT INTO history (time, kind, version, because, detail) VALUES (0, ?, '', '', ?)",
            [(f"k{i}", '{"x": "' + "x" * (1 << 20) + '"}') for i in range(40)],
        )
    with opened(tmp_path) as store:
        kept = [e.kind for e in store.history(100)]
    assert kept == [f"k{i}" for i in range(39, 39 - len(kept), -1)]
    assert 25 <= len(kept) <= 32


def test_a_detail_beyond_all_measure_is_left_out_and_said(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.record("x", "v1", "why", lines=["y" * 1000] * 1000)
        (entry,) = store.history(1)
        assert entry.because == "why"
        assert list(entry.detail) == ["left_out"]


def test_a_reason_that_quotes_a_name_in_no_encoding_is_kept(tmp_path: Path) -> None:
    name = os.fsdecode(b"bad-\xff")
    with opened(tmp_path) as store:
        store.record("complaint", name, f"the link leads to {name}", target=name)
        store.put(link=name)
        store.hold(["v1"], f"because of {name}")
        (entry,) = store.history(1)
        assert entry.because == "the link leads to bad-?"
        assert entry.detail == {"target": "bad-?"}
        assert store.fact("link") == "bad-?"


# verdicts, holds, facts


def test_a_verdict_is_recalled_for_these_bytes_under_these_conditions_only(tmp_path: Path) -> None:
    seen = Sighting("fingerprint", "digest", 5.0)
    with opened(tmp_path) as store:
        store.remember_verdict("v1", seen, "c1", VERDICT)
    with opened(tmp_path) as store:
        assert store.sightings() == {"v1": seen}
        assert store.verdict("v1", "digest", "c1") == VERDICT
        assert store.verdict("v1", "other", "c1") is None
        assert store.verdict("v1", "digest", "c2") is None
        assert store.verdict("v2", "digest", "c1") is None
        store.remember_verdict("v1", seen, "c2", {**VERDICT, "accepted": False})
        assert store.verdict("v1", "digest", "c1") is None, "one verdict a version and its bytes"
        store.forget_verdict("v1")
        assert (store.sightings(), store.verdict("v1", "digest", "c2")) == ({}, None)


def test_what_is_known_of_versions_that_are_gone_is_dropped(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        for name in ("v1", "v2", "v3"):
            store.remember_verdict(name, Sighting("f", name, 0.0), "c", VERDICT)
        store.forget_gone(["v2", "v9"])
        assert list(store.sightings()) == ["v2"]
        assert store.verdict("v1", "v1", "c") is None
        assert store.verdict("v2", "v2", "c") == VERDICT


def test_holds_and_facts_outlive_the_daemon(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.hold(["v1", "v2"], "rolled back")
        store.hold(["v2"], "asked for")
        store.put(good=["v1", "d", "/a"], intent=None)
    with opened(tmp_path) as store:
        assert store.held() == {"v1": "rolled back", "v2": "asked for"}
        assert store.release("v1")
        assert not store.release("v1")
        assert store.fact("good") == ["v1", "d", "/a"]
        assert store.fact("intent", "nothing kept") is None
        assert store.fact("never", 7) == 7


def test_facts_are_kept_all_or_none(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.put(a=1, b=1)
        with pytest.raises(TypeError):
            store.put(a=2, b=object())
        assert (store.fact("a"), store.fact("b")) == (1, 1)


# files that are not what they should be


@pytest.mark.parametrize("content", [b"this is no database at all, and long enough to be looked at" * 9, b"\0" * 5000])
def test_a_file_that_is_no_database_is_put_aside(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "state.db").write_bytes(content)
    clock = FakeClock(wall=1234.5)
    with opened(tmp_path, clock) as store:
        assert store.damaged == tmp_path / "state.db.damaged-1234"
        assert store.damaged.read_bytes() == content
        store.record("x")
    with opened(tmp_path, clock) as store:
        assert store.damaged is None
        assert len(store.history(10)) == 1


def test_a_truncated_or_overwritten_database_is_put_aside(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with opened(tmp_path) as store:
        for i in range(300):
            store.record("x", because="y" * 500, n=i)
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], whole[:200], whole[:4096] + os.urandom(len(whole) - 4096)):
        path.write_bytes(content)
        with opened(tmp_path) as store:
            assert store.damaged is not None
            assert store.history(10) == []
            store.record("goes on")


def test_only_the_last_damaged_files_are_kept(tmp_path: Path) -> None:
    clock = FakeClock()
    for _ in range(6):
        clock.advance(1.0)
        (tmp_path / "state.db").write_bytes(b"no database" * 100)
        with opened(tmp_path, clock):
            pass
    assert len(list(tmp_path.glob("state.db.damaged-*"))) == module.MAX_DAMAGED


def test_an_empty_file_is_a_new_store(tmp_path: Path) -> None:
    (tmp_path / "state.db").touch()
    with opened(tmp_path) as store:
        assert store.damaged is None
        store.record("x")


def test_a_store_of_a_newer_modelward_is_refused_and_left_alone(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.hold(["v1"], "rolled back")
    with closing(sqlite3.connect(tmp_path / "state.db")) as db:
        db.execute("PRAGMA user_version=2")
    before = (tmp_path / "state.db").read_bytes()
    with pytest.raises(CannotOpen, match=r"cannot use .*state.db: another modelward wrote it \(schema 2, this one"):
        Store(tmp_path / "state.db", FakeClock())
    assert (tmp_path / "state.db").read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["state.db"]


@pytest.mark.parametrize("trouble", ["a directory in its place", "a file in its directory's place"])
def test_where_no_store_can_be_it_says_why_and_destroys_nothing(tmp_path: Path, trouble: str) -> None:
    path = tmp_path / "state" / "state.db"
    if trouble.startswith("a directory"):
        path.mkdir(parents=True)
    else:
        path.parent.touch()
    with pytest.raises(CannotOpen, match="cannot use .*state.db: "):
        Store(path, FakeClock())
    assert path.is_dir() or path.parent.is_file()


# power cuts and full disks

WRITER = """
import sys
from pathlib import Path
from modelward.daemon.clock import SystemClock
from modelward.daemon.store import Store
store = Store(Path(sys.argv[1]), SystemClock())
while True:
    entry = store.record("x", because="y" * 2000)
    store.put(last=entry.id)
    sys.stdout.write(f"{entry.id}\\n")
    sys.stdout.flush()
"""


def test_a_writer_killed_at_any_moment_loses_nothing_it_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    acknowledged: list[int] = []
    for round_number in range(4):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)],
            env={**os.environ, "PYTHONPATH": modules()},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert writer.stdout is not None
        with writer.stdout as said:
            acknowledged += [int(said.readline()) for _ in range(10 + 37 * round_number)]
            writer.send_signal(signal.SIGKILL)
            acknowledged += [int(line) for line in said if line.endswith("\n")]
        writer.wait(PATIENCE_SECONDS)
        with closing(Store(path, FakeClock())) as store:
            assert store.damaged is None
            there = {e.id for e in store.history(10_000)}
            assert there.issuperset(acknowledged)
            assert store.fact("last") in there


FULL = """
import sqlite3, sys
from pathlib import Path
from modelward.daemon.clock import SystemClock
from modelward.daemon.store import Store
place = Path(sys.argv[1])
ballast = place / "ballast"
ballast.write_bytes(b"x" * (128 << 10))
store = Store(place / "state.db", SystemClock())
kept = []
try:
    while True:
        kept.append(store.record("x", because="y" * 5000).id)
except sqlite3.Error as e:
    print(e)
for attempt in range(3):
    try:
        store.put(a=1, b="z" * 100_000)
    except sqlite3.Error:
        pass
print(len(kept) > 5, store.fact("a"), [e.id for e in store.history(1)] == kept[-1:])
ballast.unlink()
kept.append(store.record("again").id)
store.close()
store = Store(place / "state.db", SystemClock())
print(store.damaged, sorted(e.id for e in store.history(9999)) == kept)
"""


def test_a_full_disk_costs_the_line_that_did_not_fit_and_nothing_else(tmp_path: Path) -> None:
    said = run_on_small_disk(tmp_path, FULL)
    assert said.splitlines() == ["database or disk is full", "True None True", "None True"]
