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

from modelward.daemon.state import database_file
from modelward.daemon.state import rows as state_rows
from modelward.daemon.state import store as module
from modelward.daemon.state.store import (
    CannotOpen,
    HistoryEntry,
    Sighting,
    Store,
)
from modelward.daemon.system.clock import rfc3339

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
        assert kept == HistoryEntry(2, rfc3339(clock.wall()), "activated", "v1", "", {})
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
        store.forget(["v1"])
        assert (store.sightings(), store.verdict("v1", "digest", "c2")) == ({}, None)


def test_what_is_known_of_a_version_is_dropped_when_it_is_told_so(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        for name in ("v3", "v1", "v2"):
            store.remember_verdict(name, Sighting("f", name, 0.0), "c", VERDICT)
        assert list(store.sightings()) == ["v3", "v1", "v2"], "in the order of the verdicts"
        store.forget(["v1", "v3", "v9"])
        assert list(store.sightings()) == ["v2"]
        assert store.verdict("v1", "v1", "c") is None
        assert store.verdict("v2", "v2", "c") == VERDICT


def rows(path: Path, table: str) -> int:
    with closing(sqlite3.connect(path / "state.db")) as db:
        (count,) = db.execute(f"SELECT count(*) FROM {table}").fetchone()
    return int(count)


def test_a_version_whose_bytes_change_again_and_again_has_one_verdict(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        for digest in range(1000):
            store.remember_verdict("v1", Sighting("f", str(digest), 0.0), "c", VERDICT)
        assert store.verdict("v1", "999", "c") == VERDICT
    assert (rows(tmp_path, "verdicts"), rows(tmp_path, "sightings")) == (1, 1)


def test_verdicts_that_an_older_release_left_behind_are_dropped_at_the_opening(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.remember_verdict("v1", Sighting("f", "now", 0.0), "c", VERDICT)
    with closing(sqlite3.connect(tmp_path / "state.db")) as db, db:
        for digest in range(1000):
            db.execute("INSERT INTO verdicts VALUES (?, 'v1', 'c', '{}', 0)", (f"before-{digest}",))
    with opened(tmp_path) as store:
        assert store.verdict("v1", "now", "c") == VERDICT
    assert rows(tmp_path, "verdicts") == 1


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
    assert len(list(tmp_path.glob("state.db.damaged-*"))) == database_file.MAX_DAMAGED


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
def test_where_no_store_can_be_it_is_in_memory_says_what_helps_and_destroys_nothing(
    tmp_path: Path, trouble: str
) -> None:
    path = tmp_path / "state" / "state.db"
    if trouble.startswith("a directory"):
        path.mkdir(parents=True)
    else:
        path.parent.touch()
    with closing(Store(path, FakeClock())) as store:
        assert store.trouble is not None
        assert store.trouble.sentence.startswith(f"cannot write {path}: ")
        assert "; mv " in store.trouble.sentence
        store.hold(["v1"], "asked for")
        assert store.check() == ""
        assert path.is_dir() or path.parent.is_file()
        path.rmdir() if path.is_dir() else path.parent.unlink()
        assert store.check() == f"the state is in {path} again"
    with closing(Store(path, FakeClock())) as store:
        assert store.held() == {"v1": "asked for"}


def test_a_file_that_is_removed_while_it_is_used_is_written_again_whole(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.record("first")
        store.remember_verdict("v1", Sighting("f", "d", 1.0), "c", VERDICT)
        assert store.check() == ""
        for name in ("state.db", "state.db-wal", "state.db-shm"):
            (tmp_path / name).unlink()
        store.record("second")
        assert store.check().endswith(
            "was removed or replaced; the state is in " + str(tmp_path / "state.db") + " again"
        )
        store.record("third")
        assert store.check() == ""
    with opened(tmp_path) as store:
        assert [(e.id, e.kind) for e in store.history(9)] == [(3, "third"), (2, "second"), (1, "first")]
        assert store.verdict("v1", "d", "c") == VERDICT


@pytest.mark.parametrize("newer", [False, True])
def test_a_file_put_in_place_of_the_one_in_use_is_added_to(tmp_path: Path, newer: bool) -> None:
    there, here = tmp_path / "there", tmp_path / "here"
    with opened(there) as store:
        store.hold(["v0"], "of the other")
        for kind in ("first", "other", "other")[: 3 if newer else 1]:
            store.record(kind)
    with opened(here) as store:
        store.record("first")
        store.record("second")
        for suffix in ("-wal", "-shm"):
            (here / f"state.db{suffix}").unlink()
        os.replace(there / "state.db", here / "state.db")
        store.hold(["v1"], "of ours")
        assert store.check()
        assert store.held() == {"v0": "of the other", "v1": "of ours"}
        found = [e.kind for e in store.history(9)]
        assert found == (["other", "other", "first"] if newer else ["second", "first"])


def test_a_file_that_is_overwritten_while_it_is_used_is_put_aside_and_what_comes_then_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with opened(tmp_path) as store:
        for _ in range(300):
            store.record("before", because="y" * 2000)
    with opened(tmp_path) as store:
        with open(path, "r+b") as f:
            f.write(b"no database" * (path.stat().st_size // 11))
        with pytest.raises(sqlite3.DatabaseError) as e:
            store.history(999)
        assert store.leave_file(e.value)
        assert not store.leave_file(e.value)
        store.hold(["v1"], "asked for")
        assert store.check() == f"the state is in {path} again"
        assert store.damaged is not None
        store.record("after")
    with opened(tmp_path) as store:
        assert store.damaged is store.trouble is None
        assert store.held() == {"v1": "asked for"}
        assert store.history(1)[0].kind == "after"


# power cuts and full disks

WRITER = """
import sys
from pathlib import Path
from modelward.daemon.system.clock import SystemClock
from modelward.daemon.state.store import Store
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
import sys
from pathlib import Path
from modelward.daemon.system.clock import SystemClock
from modelward.daemon.state.async_store import AsyncStore
from modelward.daemon.state.store import Sighting, Store
place = Path(sys.argv[1])
ballast = place / "ballast"
def fill():
    with open(ballast, "ab", buffering=0) as f:
        for size in (4096, 1):
            try:
                while True:
                    f.write(bytes(size))
            except OSError:
                pass
def store():
    return Store(place / "state.db", SystemClock())
def run(what):  # as the async store does
    try:
        return what(kept)
    except Exception as e:
        if not kept.leave_file(e):
            raise
        return what(kept)
kept = store()
numbers = [kept.record("x", because="y" * 2000).id for _ in range(20)]
kept.remember_verdict("v1", Sighting("f", "d", 1.0), "c", {"accepted": True})
kept.hold(["v0", "v1"], "asked for")
{before}
numbers += [run(lambda s: s.record("x", because="y" * 5000)).id for _ in range(150)]
run(lambda s: s.put(a=1))
run(lambda s: s.release("v0"))
print(kept.trouble.sentence.replace(str(place), "DISK"), kept.trouble.no_room)
print(repr(kept.check()), [e.id for e in kept.history(999)] == sorted(numbers, reverse=True))
{clear}
print(kept.check().replace(str(place), "DISK"), kept.trouble)
numbers.append(kept.record("again").id)
kept.close()
kept = store()
print(kept.damaged, kept.trouble, sorted(e.id for e in kept.history(9999)) == numbers == sorted(set(numbers)))
print(kept.fact("a"), kept.held(), kept.verdict("v1", "d", "c"))
"""
_NO_ROOM = "`modelward disk` shows what takes it, `modelward sweep` removes what may go True"
_FAULTS = {
    "full while it is used": ("fill()", "ballast.unlink()", f"no space left on the disk of DISK; {_NO_ROOM}"),
    "full at the start": (
        "kept.close(); fill(); kept = store()",
        "ballast.unlink()",
        f"no space left on the disk of DISK; {_NO_ROOM}",
    ),
    "read-only at the start": (
        "import subprocess; kept.close()\n"
        "subprocess.run(['mount', '-o', 'remount,ro', place], check=True); kept = store()",
        "subprocess.run(['mount', '-o', 'remount,rw', place], check=True)",
        "the file system is read-only; mount -o remount,rw DISK False",
    ),
    "without inodes at the start": (
        "kept.close()\n"
        "import subprocess; subprocess.run(['mount', '-o', 'remount,nr_inodes=3', place], check=True)\n"
        "ballast.touch(); kept = store()",
        "ballast.unlink(); subprocess.run(['mount', '-o', 'remount,nr_inodes=99', place], check=True)",
        f"no inodes left on the disk of DISK; {_NO_ROOM}",
    ),
}


@pytest.mark.parametrize("fault", _FAULTS)
def test_what_the_disk_cannot_take_is_kept_in_memory_and_written_when_it_can(tmp_path: Path, fault: str) -> None:
    before, clear, sentence = _FAULTS[fault]
    said = run_on_small_disk(tmp_path, FULL.replace("{before}", before).replace("{clear}", clear), size="2m")
    print(said)
    assert said.splitlines() == [
        f"cannot write DISK/state.db: {sentence}",
        "'' True",
        "the state is in DISK/state.db again None",
        "None None True",
        "1 {'v1': 'asked for'} {'accepted': True}",
    ]


def test_history_in_memory_has_a_limit_and_what_went_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    path.mkdir()
    with closing(Store(path, FakeClock())) as store:
        for _ in range(state_rows.MAX_LINES + 150):
            store.record("x")
        kept = len(store.history(9999))
        assert kept <= state_rows.MAX_LINES + module.PRUNE_EVERY
        path.rmdir()
        assert store.check()
        newest = store.history(1)[0]
        assert newest.kind == "history-dropped"
        assert newest.because.startswith(f"{state_rows.MAX_LINES + 150 - kept} lines: ")
