"""Worker processes that die, hang, ignore and refuse: real children, and a clock that the test moves."""

from __future__ import annotations

import asyncio
import itertools
import os
import resource
import signal
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.children import (
    EXIT_1,
    EXIT_3,
    HANG,
    IGNORES_SIGTERM,
    SPAWNS_GRANDCHILD,
)
from tests.daemon.workers.room import Room
from tests.daemon.workers.shop import LIMITS, Shop, run
from tests.fakes.clock import FakeClock
from tests.support import soon

from modelward.daemon.system.processes import identity
from modelward.daemon.workers.pool_planner import Phase
from modelward.worker.shared.process_readings import read
from modelward.worker.shared.progress import ProcessReading


def test_as_many_as_wanted_are_started_and_no_more(tmp_path: Path) -> None:
    async def work(shop: Shop) -> None:
        shop.pool.wanted = 2
        shop.pool.step()
        assert shop.names() == ["w1", "w2"]
        shop.pool.step()
        assert shop.names() == ["w1", "w2"]
        pids = [process.child.pid for process in shop.pool.processes()]
        assert all(identity(pid) for pid in pids)

    run(tmp_path, HANG, work)


def test_a_worker_that_exits_1_at_once_is_started_ever_more_slowly(tmp_path: Path) -> None:
    async def work(shop: Shop) -> None:
        waits: list[float] = []
        for started in range(1, 8):
            shop.pool.step()
            await shop.all_ended(started)
            (pending,) = shop.pool.pending_starts()
            due = shop.pool.next_check()
            assert due == pending.due
            waits.append(due - shop.time.monotonic())
            shop.time.advance(waits[-1] - 0.01)
            shop.pool.step()
            assert shop.names() == [], "before its time"
            shop.time.advance(0.02)
        assert waits == pytest.approx([1, 2, 4, 8, 16, 32, 60])
        assert [e.status for e in shop.ended] == [1] * 7
        assert shop.ended[0].because == "exit status 1"

    run(tmp_path, EXIT_1, work)


def test_in_a_minute_of_dying_at_once_there_are_at_most_eight_starts(tmp_path: Path) -> None:
    async def work(shop: Shop) -> None:
        began = shop.time.monotonic()
        while shop.time.monotonic() < began + 60:
            shop.pool.step()
            await soon(lambda: not shop.names())
            shop.time.advance(0.25)
        assert 4 <= len(shop.ended) <= 8

    run(tmp_path, EXIT_1, work)


def test_having_served_for_a_while_it_is_back_at_once(tmp_path: Path) -> None:
    async def work(shop: Shop) -> None:
        shop.pool.step()
        shop.pool.record_message("w1", ready=True)
        shop.time.advance(11)
        os.kill(shop.pid("w1"), signal.SIGKILL)
        await shop.all_ended(1)
        assert shop.ended[0].because == "died of SIGKILL"
        shop.pool.step()
        assert shop.names() == ["w2"]

    run(tmp_path, HANG, work)


def test_having_died_before_it_was_ready_never_counts_as_having_served(tmp_path: Path) -> None:
    async def work(shop: Shop) -> None:
        shop.pool.step()
        shop.pool.record_message("w1", ready=False)
        shop.time.advance(50)
        os.kill(shop.pid("w1"), signal.SIGKILL)
        await shop.all_ended(1)
        assert [v.failures for v in shop.pool.pending_starts()] == [1]

    run(tmp_path, HANG, work)


def test_a_worker_that_can_never_boot_is_not_started_again_before_something_changes(tmp_path: Path) -> None:
    async def work(shop: Shop) -> None:
        shop.pool.wanted = 2
        shop.pool.step()
        await shop.all_ended(2)
        for _ in range(10):
            shop.time.advance(3600)
            shop.pool.step()
        assert shop.names() == []
        assert shop.pool.next_check() is None
        assert {v.blocked for v in shop.pool.pending_starts()} == {"it can never boot (exit status 3)"}
        shop.code = HANG
        shop.pool.unblock()
        shop.pool.step()
        assert shop.names() == ["w3", "w4"]

    run(tmp_path, EXIT_3, work)


@pytest.mark.parametrize("code", [EXIT_1, EXIT_3])
def test_a_successor_that_dies_is_started_no_faster_and_the_old_worker_stays(tmp_path: Path, code: str) -> None:
    async def work(shop: Shop) -> None:
        shop.pool.step()
        shop.pool.record_message("w1", ready=True)
        shop.code = code
        assert shop.pool.replace("w1", "SIGUSR2")
        shop.pool.step()
        await shop.all_ended(1)
        for _ in range(20):
            shop.pool.step()
            await asyncio.sleep(0)
        assert shop.names() == ["w1"]
        shop.time.advance(1.1)
        shop.pool.step()
        assert shop.names() == (["w1", "w3"] if code == EXIT_1 else ["w1"])
        process = shop.pool.process("w1")
        assert process is not None
        assert process.phase is Phase.READY

    run(tmp_path, HANG, work)


def test_a_place_waits_its_time_also_while_another_worker_drains(tmp_path: Path) -> None:
    async def work(shop: Shop) -> None:
        shop.pool.wanted = 2
        shop.pool.step()
        shop.pool.retire("w1", "asked for")
        shop.code = EXIT_1
        shop.pool.step()
        await soon(lambda: shop.ended)
        for _ in range(20):
            shop.pool.step()
            await asyncio.sleep(0)
        assert len(shop.ended) <= 2, "w3, and w1 if it was quick"

    run(tmp_path, IGNORES_SIGTERM, work)


def test_fewer_wanted_leaves_no_place_waiting(tmp_path: Path) -> None:
    async def work(shop: Shop) -> None:
        shop.pool.wanted = 3
        shop.pool.step()
        await soon(lambda: not shop.names())
        assert len(shop.pool.pending_starts()) >= 2
        shop.pool.wanted = 1
        shop.pool.step()
        assert len(shop.pool.pending_starts()) == 1
        shop.code = HANG
        shop.time.advance(10)
        shop.pool.step()
        assert len(shop.names()) == 1
        assert shop.pool.pending_starts() == ()

    run(tmp_path, EXIT_1, work)


def test_who_ignores_the_wish_to_leave_is_killed_after_its_time(tmp_path: Path) -> None:
    async def work(shop: Shop) -> None:
        shop.pool.step()
        await soon((tmp_path / "w1").exists)
        shop.pool.wanted = 0
        shop.pool.record_message("w1", ready=True)
        shop.pool.step()
        shop.time.advance(30)
        shop.pool.record_message("w1", ready=True)
        shop.pool.step()
        assert shop.names() == ["w1"], "a second look first"
        shop.time.advance(2)
        shop.pool.record_message("w1", ready=True)
        shop.pool.step()
        await shop.all_ended(1)
        assert shop.ended[0].because == "it did not drain in 30 s"
        assert shop.ended[0].retired
        assert shop.pool.pending_starts() == ()

    run(tmp_path, IGNORES_SIGTERM, work)


@pytest.mark.parametrize("ready", [False, True])
def test_a_worker_that_hangs_is_killed_and_replaced(tmp_path: Path, ready: bool) -> None:
    async def work(shop: Shop) -> None:
        shop.pool.step()
        if ready:
            shop.pool.record_message("w1", ready=True)
        shop.time.advance(60)
        shop.pool.step()
        assert shop.pool.next_check() == shop.time.monotonic() + 2
        shop.time.advance(2)
        shop.pool.step()
        shop.pool.step()
        assert shop.pool.next_check() is None, "nothing to look at before it is gone"
        await shop.all_ended(1)
        assert shop.ended[0].because == ("it sent nothing for 40 s" if ready else "it was not ready in 60 s")
        assert shop.ended[0].status == -signal.SIGABRT
        shop.time.advance(2)
        shop.pool.step()
        assert shop.names() == ["w2"]

    run(tmp_path, HANG, work)


LOADS = "x = bytearray(1 << 20)\nwhile True: sum(x)"


def test_a_worker_that_still_loads_is_not_killed_before_it_used_up_its_cpu_time(tmp_path: Path) -> None:
    async def work(shop: Shop) -> None:
        shop.read = read
        shop.pool.step()
        shop.time.advance(60)
        shop.pool.step()
        for _ in range(10):
            shop.time.advance(2)
            shop.pool.step()
        assert shop.pool.processes()[0].killed == ""
        shop.pool.limits = replace(LIMITS, start_seconds=0.01)
        pid = shop.pool.processes()[0].child.pid
        await soon(lambda: (reading := read(pid)) is not None and reading.cpu_seconds > 0.01)
        shop.time.advance(2)
        shop.pool.step()
        assert shop.pool.processes()[0].killed == "it was not ready in 0.01 s"

    run(tmp_path, LOADS, work)


@pytest.mark.parametrize(("waited", "killed"), [(0.9, ""), (0.0, "it sent nothing for 40 s")])
def test_a_silent_worker_that_gets_no_processor_is_not_killed(tmp_path: Path, waited: float, killed: str) -> None:
    async def work(shop: Shop) -> None:
        seconds = itertools.count()
        shop.read = lambda pid: ProcessReading(at := float(next(seconds)), 0.01 * at, waited * at)
        shop.pool.step()
        shop.pool.record_message("w1", ready=True)
        shop.time.advance(40)
        shop.pool.step()
        shop.time.advance(2)
        shop.pool.step()
        assert shop.pool.processes()[0].killed == killed

    run(tmp_path, HANG, work)


def test_a_daemon_that_was_stopped_for_an_hour_kills_nobody_who_still_speaks(tmp_path: Path) -> None:
    async def work(shop: Shop) -> None:
        shop.pool.wanted = 2
        shop.pool.step()
        for name in ("w1", "w2"):
            shop.pool.record_message(name, ready=True)
        shop.time.advance(3600)
        shop.pool.step()
        for name in ("w1", "w2"):
            shop.pool.record_message(name, ready=True)
        shop.time.advance(2)
        shop.pool.step()
        assert shop.names() == ["w1", "w2"]
        assert all(not process.killed for process in shop.pool.processes())

    run(tmp_path, HANG, work)


def test_a_grandchild_goes_with_its_worker(tmp_path: Path) -> None:
    async def work(shop: Shop) -> None:
        shop.pool.step()
        await soon((tmp_path / "w1").exists)
        grandchild = int((tmp_path / "w1").read_text())
        assert identity(grandchild)
        os.kill(shop.pid("w1"), signal.SIGKILL)
        await shop.all_ended(1)
        await soon(lambda: identity(grandchild) is None)

    run(tmp_path, SPAWNS_GRANDCHILD, work)


def test_a_start_that_fails_is_tried_again_later_and_stops_nobody(tmp_path: Path) -> None:
    async def work(shop: Shop) -> None:
        shop.pool.step()
        shop.pool.wanted = 2
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        try:
            for _ in range(5):
                shop.pool.step()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert shop.names() == ["w1"]
        assert [v.failures for v in shop.pool.pending_starts()] == [1]
        shop.time.advance(1.1)
        shop.pool.step()
        assert len(shop.names()) == 2
        assert shop.ended == []

    run(tmp_path, HANG, work)


def test_a_program_that_is_gone_is_tried_again_later(tmp_path: Path) -> None:
    async def work() -> None:
        clock = FakeClock()
        room = Room(tmp_path, clock=clock, command=lambda settings: ["/no/such/python"])
        room.pool.wanted = 1
        for failures in range(1, 5):
            room.pool.step()
            assert [v.failures for v in room.pool.pending_starts()] == [failures]
            clock.advance(61)

    asyncio.run(work())
