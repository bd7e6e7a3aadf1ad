"""The store behind a thread: in order, never in the way of the event loop."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from tests.fakes.clock import FakeClock
from tests.support import PATIENCE_SECONDS, soon

from modelward.daemon.state.async_store import AsyncStore, CannotKeep
from modelward.daemon.state.store import HistoryEntry, Store
from modelward.daemon.system.clock import rfc3339

WAITING = 40


def run(
    tmp_path: Path, work: Callable[[AsyncStore, list[HistoryEntry]], Awaitable[None]], clock: FakeClock | None = None
) -> None:
    async def whole() -> None:
        told: list[HistoryEntry] = []
        async_store = AsyncStore(Store(tmp_path / "state.db", clock or FakeClock()), told.append, most_waiting=WAITING)
        try:
            await work(async_store, told)
        finally:
            await async_store.close()

    asyncio.run(asyncio.wait_for(whole(), PATIENCE_SECONDS))


def test_what_is_noted_is_kept_and_then_told(tmp_path: Path) -> None:
    async def work(async_store: AsyncStore, told: list[HistoryEntry]) -> None:
        async_store.note("accepted", "v1", "all gates passed", seconds=2)
        assert told == []
        await soon(lambda: told)
        assert await async_store.do(lambda store: store.history(9)) == told
        assert told[0].detail == {"seconds": 2}

    run(tmp_path, work)


def test_a_line_that_had_to_wait_says_when_it_happened_not_when_it_was_written(tmp_path: Path) -> None:
    clock = FakeClock()

    async def work(async_store: AsyncStore, told: list[HistoryEntry]) -> None:
        hang = threading.Event()
        stuck = asyncio.ensure_future(async_store.do(lambda store: hang.wait(PATIENCE_SECONDS)))
        said = rfc3339(clock.wall())
        async_store.note("activated", "v1")
        clock.advance(60)
        hang.set()
        await stuck
        await soon(lambda: told)
        assert told[0].time == said

    run(tmp_path, work, clock)


def test_everything_is_kept_in_the_order_it_was_said(tmp_path: Path) -> None:
    async def work(async_store: AsyncStore, told: list[HistoryEntry]) -> None:
        for i in range(50):
            async_store.note("n", str(i))
            await async_store.do(lambda store, i=i: store.record("d", str(i)))  # type: ignore[misc]
        kept = await async_store.do(lambda store: store.history(200))
        assert [(e.kind, e.version) for e in reversed(kept)] == [(k, str(i)) for i in range(50) for k in "nd"]

    run(tmp_path, work)


def test_a_disk_that_hangs_stops_no_loop_and_drops_notes_beyond_its_limit(tmp_path: Path) -> None:
    async def work(async_store: AsyncStore, told: list[HistoryEntry]) -> None:
        hang = threading.Event()
        stuck = asyncio.ensure_future(async_store.do(lambda store: hang.wait(PATIENCE_SECONDS)))
        await asyncio.sleep(0)
        for i in range(WAITING + 10):
            async_store.note("n", str(i))
        ticks = 0
        while ticks < 20:
            await asyncio.sleep(0.001)
            ticks += 1
        assert told == []
        hang.set()
        await stuck
        await soon(lambda: len(told) == WAITING)
        async_store.note("after", "x")
        await soon(lambda: told[-1].kind == "after")

    run(tmp_path, work)


@pytest.mark.parametrize("error", [sqlite3.OperationalError("database or disk is full"), OSError(5, "EIO")])
def test_what_cannot_be_kept_is_an_error_with_its_reason_and_the_next_is_tried_anew(
    tmp_path: Path, error: Exception
) -> None:
    def fail(store: Store) -> None:
        raise error

    async def work(async_store: AsyncStore, told: list[HistoryEntry]) -> None:
        with pytest.raises(CannotKeep, match="cannot keep state: .*; what is served is not affected"):
            await async_store.do(fail)
        assert await async_store.do(lambda store: store.held()) == {}

    run(tmp_path, work)


def test_whoever_gives_up_waiting_takes_nothing_back(tmp_path: Path) -> None:
    async def work(async_store: AsyncStore, told: list[HistoryEntry]) -> None:
        hang = threading.Event()
        stuck = asyncio.ensure_future(async_store.do(lambda store: hang.wait(PATIENCE_SECONDS)))
        waiting = asyncio.ensure_future(async_store.do(lambda store: store.hold(["v1"], "asked for")))
        await asyncio.sleep(0)
        stuck.cancel()
        hang.set()
        await waiting
        assert await async_store.do(lambda store: store.held()) == {"v1": "asked for"}

    run(tmp_path, work)


def test_closing_keeps_what_is_on_its_way_and_takes_nothing_more(tmp_path: Path) -> None:
    async def work(async_store: AsyncStore, told: list[HistoryEntry]) -> None:
        for i in range(20):
            async_store.note("n", str(i))
        await async_store.close()
        assert len(told) == 20
        async_store.note("late")
        with pytest.raises(CannotKeep, match="the daemon ends"):
            await async_store.do(lambda store: store.held())

    async def whole() -> None:
        told: list[HistoryEntry] = []
        await work(AsyncStore(Store(tmp_path / "state.db", FakeClock()), told.append), told)

    asyncio.run(whole())
