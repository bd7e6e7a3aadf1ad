"""What the daemon wrote down and finds again: the database, its rows, who the workers are; damaged, torn, foreign."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import os
import sqlite3
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.daemon.fleet.records import KEY, record
from tests.fakes.clock import FakeClock
from tests.fuzz.strategies import (
    JSON,
    ODD_TEXTS,
    altered,
    bytes_like,
    deep,
    fuzzed,
    twisted,
)

from modelward.daemon.controllers.fleet_agent import BEGUN
from modelward.daemon.fleet.agent_planner import BegunRecord
from modelward.daemon.fleet.record import BadRecord
from modelward.daemon.fleet.signature import open_record, sign_record
from modelward.daemon.health import alert_record, mutes
from modelward.daemon.health.rules import BUILT_IN
from modelward.daemon.models import verdict as v
from modelward.daemon.models.snapshot import Names
from modelward.daemon.state.async_store import AsyncStore, CannotKeep
from modelward.daemon.state.sequences import TakenRow
from modelward.daemon.state.store import CannotOpen, Sighting, Store
from modelward.daemon.status import serving_state
from modelward.daemon.upkeep.disk import sweeper_protocol
from modelward.daemon.workers.pool import WorkerPool
from modelward.worker.child_protocol import GateDone
from modelward.worker.protocol import WorkerSettings
from modelward.worker.shared.unreadable import UNREADABLE

MEMORY = "/dev/shm" if os.path.isdir("/dev/shm") else None
"""Where nothing waits for a disk."""
RECORD: dict[str, Any] = {
    "accepted": True, "because": "all", "digest": "d", "artifact": "/a", "bytes": 1, "load_bytes": 2,
    "gates": [{"gate": "load", "passed": True, "seconds": 0.5, "because": "", "warning": False}],
    "judged_at": "2026-01-02T03:04:05Z",
}  # fmt: skip
FACTS = {"committed": ["v1", "d1"], "intent": ["v2", "d2"], "good": ["v1", "d1", "/a"], "previous": None}


def _use(store: Store) -> None:
    """Everything that is read at a start, as the daemon reads it."""
    for entry in store.history(100):
        json.dumps(entry.detail)
        assert entry.time.endswith("Z") and isinstance(entry.detail, dict)
    assert all(isinstance(sighting, Sighting) for sighting in store.sightings().values())
    verdict = store.verdict("v1", "d", "c")
    with contextlib.suppress(ValueError):
        if verdict is not None:
            assert isinstance(v.from_record(verdict), v.Verdict)
    store.held()
    row = store.taken_record()
    assert row is None or isinstance(row, TakenRow)
    assert isinstance(store.highest_sequence(), int) and isinstance(store.taken_digests("v1"), tuple)
    with contextlib.suppress(BadRecord):
        if row is not None:  # as the agent of a fleet recalls it
            open_record(row.content.encode(), [KEY.public])
    with contextlib.suppress(*UNREADABLE):
        msgspec.convert(store.fact(BEGUN), BegunRecord)
    serving_state.cut_short(store)
    found = serving_state.load(store, Names("v2"))
    assert isinstance(found, serving_state.Position)
    alert_record.read(store.fact(alert_record.FACT), BUILT_IN, 5.0, 1_800_000_000.0)
    mutes.read(store.fact(mutes.FACT), 1_800_000_000.0)
    store.record("start", "v1", "because \ud800", detail="\udcff")


@functools.cache
def _database() -> bytes:
    with tempfile.TemporaryDirectory(dir=MEMORY) as directory:
        path = Path(directory) / "state.db"
        store = Store(path, FakeClock())
        for number in range(20):
            store.record("accepted", f"v{number}", "fine", gates=[number])
        store.remember_verdict("v1", Sighting("f", "d", 5.0), "c", RECORD)
        store.hold(["v0"], "asked for")
        store.take_version("v1", "d", 7)
        store.take_record(TakenRow("d", 7, 1.8e9, sign_record(record(), KEY).decode()))
        store.put(**FACTS, alerts={"firing": {"a": 1.0}, "told": {}})
        store.close()
        return path.read_bytes()


@fuzzed(60)
@given(
    st.deferred(lambda: st.one_of(altered(_database()), altered(_database(), head=100), bytes_like(_database()[:4096])))
)
@example(b"")
@example(b"SQLite format 3\0")
def test_a_damaged_database_is_used_put_aside_or_refused(data: bytes) -> None:
    _opened(data)


@pytest.mark.parametrize("words", [b"TABLE facts", b"INTEGER PRIMARY", b"kind TEXT", b"STRICT"])
def test_a_database_whose_own_words_are_damaged_is_put_aside(words: bytes) -> None:
    """SQLite quotes them in what it says, and Python cannot read that."""
    assert _opened(_database().replace(words, b"\xf4" + words[1:])) != "refused"


def _opened(data: bytes) -> str:
    with tempfile.TemporaryDirectory(dir=MEMORY) as directory:
        path = Path(directory) / "state.db"
        path.write_bytes(data)
        try:
            store = Store(path, FakeClock())
        except CannotOpen as e:
            assert str(e).startswith("cannot use")
            return "refused"
        try:
            _use(store)
        except (sqlite3.Error, UnicodeDecodeError) as e:  # which the async store makes a CannotKeep of
            assert str(e)
        finally:
            store.close()
        return "used" if store.damaged is None else "put aside"


_VALUES = st.one_of(
    JSON.map(json.dumps),
    twisted(RECORD, FACTS, {"firing": {"a": 1.0}, "told": {"g": {"last_sent": 1.0, "firing": {"a": "t"}}}}).map(
        json.dumps
    ),
    st.sampled_from(
        ("", "{", deep(20_000).decode(), '"\\ud800"', "NaN", "1e999", "[Infinity]", "9" * 5000, '{"x":Infinity}')
    ),
).map(lambda text: text.encode(errors="replace").decode())


@fuzzed(150)
@given(
    _VALUES,
    st.sampled_from(("committed", "intent", "good", "previous", alert_record.FACT, mutes.FACT, "rollout", BEGUN)),
    st.floats(allow_nan=False),
)
@example('{"firing":{},"told":{},"missed":{"warning":[[1,2]]}}', alert_record.FACT, 0.0)
@example('{"mutes":[{"name":"all","since":1e999,"until":0}],"acknowledged":{}}', mutes.FACT, 0.0)
@example('{"firing":{"a":1e999},"told":{}}', alert_record.FACT, 1e300)
@example(f'{{"firing":{{"a":{10**400}}},"told":{{}}}}', alert_record.FACT, -1e300)
@example("{", "good", 0.0)
def test_rows_that_make_no_sense_are_passed_over(value: str, fact: str, time: float) -> None:
    with tempfile.TemporaryDirectory(dir=MEMORY) as directory:
        path = Path(directory) / "state.db"
        Store(path, FakeClock()).close()
        with contextlib.closing(sqlite3.connect(path)) as db, db:
            db.execute("INSERT INTO history VALUES (1, ?, 'x', 'v', 'b', ?)", (time, value))
            db.execute("INSERT INTO verdicts VALUES ('d', 'v1', 'c', ?, ?)", (value, time))
            db.execute("INSERT INTO facts VALUES (?, ?)", (fact, value))
            taken = ("record", "", "d", 2**62, max(-1e300, time), value, time)
            db.execute("INSERT INTO taken VALUES (?, ?, ?, ?, ?, ?, ?)", taken)
        store = Store(path, FakeClock())
        try:
            _use(store)
        finally:
            store.close()


@fuzzed(80)
@given(ODD_TEXTS, ODD_TEXTS, JSON)
@example("\ud800", "\ud800", None)
@example("\0", "\0", {"\ud800": "\ud800"})
def test_whatever_is_kept_is_found_again_as_text(version: str, because: str, detail: Any) -> None:
    def readable(text: str) -> str:
        return text.encode(errors="replace").decode()

    async def whole() -> None:
        with tempfile.TemporaryDirectory(dir=MEMORY) as directory:
            async_store = AsyncStore(Store(Path(directory) / "state.db", FakeClock()), lambda entry: None)
            async_store.note("x", version, because, detail=detail)
            [entry] = await async_store.do(lambda store: store.history(5))
            assert (entry.version, entry.because) == (readable(version), readable(because))
            await async_store.do(lambda store: store.hold([version], because))
            assert await async_store.do(lambda store: store.held()) == {readable(version): readable(because)}
            assert await async_store.do(lambda store: store.release(version))
            await async_store.do(lambda store: store.verdict(version, "d", "c"))
            await async_store.do(lambda store: store.forget([version]))
            await async_store.close()

    with contextlib.suppress(CannotKeep):
        asyncio.run(whole())


@fuzzed(200)
@given(st.one_of(twisted(RECORD), JSON))
@example({**RECORD, "bytes": float("inf")})
def test_a_verdict_is_read_as_it_was_or_refused(record: Any) -> None:
    try:
        found = v.from_record(record)
    except ValueError:
        return
    assert v.from_record(v.to_record(found)) == found
    v.report(found)


_TIMES = st.floats(0, 1e6)


@fuzzed(80)
@given(
    st.builds(GateDone, st.text(max_size=9), st.booleans(), _TIMES, st.text(max_size=9), st.booleans()), st.booleans()
)
def test_a_verdict_comes_back_from_its_record(gate: GateDone, accepted: bool) -> None:
    verdict = v.Verdict(accepted, "because", (v.gate_from(gate),), "d", "/a", 5, 6, "now")
    assert v.from_record(json.loads(json.dumps(v.to_record(verdict)))) == verdict


WORKERS = {"boot": "BOOT", "number": 3, "workers": [{"name": "w1", "pid": 1, "started_ticks": 5}]}


@fuzzed(120)
@given(
    st.one_of(
        twisted(WORKERS).map(lambda value: json.dumps(value).encode()),
        bytes_like(json.dumps(WORKERS).encode()),
        st.just(b'{"boot":"BOOT","number":Infinity,"workers":[]}'),
        st.just(b'{"boot":"BOOT","number":1,"workers":[{"name":"w","pid":1e999,"started_ticks":1}]}'),
        st.just(deep(20_000)),
    )
)
def test_who_the_workers_were_is_read_or_nobody(data: bytes) -> None:
    boot = Path("/proc/sys/kernel/random/boot_id").read_bytes().strip()
    with tempfile.TemporaryDirectory(dir=MEMORY) as directory:
        (Path(directory) / "workers.json").write_bytes(data.replace(b"BOOT", boot))
        pool = WorkerPool(
            runtime_dir=Path(directory),
            clock=FakeClock(),
            ended=lambda ended: None,
            drain=lambda name, notice: False,
            settings=lambda name: (WorkerSettings(name, "", "", 0), 0),
        )
        assert pool.remembered() == {}  # process 1 began at another time


SWEPT = {"type": "swept", "outcome": {"classes": [], "disks": [], "seconds": 1.0}, "listed": []}
ASK = {"type": "ask", "rule": "versions", "unit": "v1"}


@fuzzed(100)
@given(
    st.one_of(
        twisted(SWEPT, ASK).map(lambda value: json.dumps(value).encode()),
        bytes_like(*(json.dumps(value).encode() for value in (SWEPT, ASK))),
        st.just(b'{"x":' + deep(20_000) + b"}"),
    )
)
def test_a_sweepers_line_is_a_message_or_refused(line: bytes) -> None:
    try:
        sweeper_protocol.read_reply(line)
    except ValueError as e:
        assert str(e)
