"""How a pool ends, and what it leaves to the next daemon: real children, a real file."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
from tests.children import HANG, IGNORES_SIGTERM, program
from tests.daemon.workers.shop import Shop, run
from tests.support import PATIENCE_SECONDS, eventually, soon

from modelward.daemon.system.clock import SystemClock
from modelward.daemon.system.processes import identity
from modelward.daemon.workers.pool import WorkerPool
from modelward.daemon.workers.pool_record import PoolRecord
from modelward.worker.protocol import WorkerSettings


def test_closing_lets_them_leave_and_kills_who_does_not(tmp_path: Path) -> None:
    async def work(shop: Shop) -> None:
        shop.pool.wanted = 2
        shop.pool.step()
        await soon(lambda: (tmp_path / "w1").exists() and (tmp_path / "w2").exists())
        shop.code = HANG
        shop.pool.wanted = 3
        shop.pool.step()
        await asyncio.wait_for(shop.pool.close(0.3), PATIENCE_SECONDS)
        assert shop.names() == []
        assert {e.name: e.status for e in shop.ended}["w1"] == -signal.SIGKILL
        assert all(e.retired for e in shop.ended)
        assert not (tmp_path / "workers.json").exists()

    run(tmp_path, IGNORES_SIGTERM, work)


def test_closing_while_they_die_by_themselves_ends_too(tmp_path: Path) -> None:
    async def work(shop: Shop) -> None:
        shop.pool.wanted = 4
        shop.pool.step()
        for process in shop.pool.processes():
            os.kill(process.child.pid, signal.SIGKILL)
        await asyncio.wait_for(shop.pool.close(3600.0), PATIENCE_SECONDS)
        assert shop.names() == []

    run(tmp_path, HANG, work)


# what is written down


def _written(path: Path) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads((path / "workers.json").read_text())["workers"]
    return found


def test_a_record_that_somebody_removed_is_made_again_at_the_step_after_a_look(tmp_path: Path) -> None:
    async def work(shop: Shop) -> None:
        shop.pool.step()
        await soon((tmp_path / "workers.json").exists)
        (tmp_path / "workers.json").unlink()
        assert not shop.pool.written_down()
        shop.pool.step()
        await soon((tmp_path / "workers.json").exists)
        assert [w["name"] for w in _written(tmp_path)] == ["w1"]

    run(tmp_path, HANG, work)


def test_what_was_given_last_is_written_last_and_the_end_waits_for_it(tmp_path: Path) -> None:
    async def work() -> None:
        record = PoolRecord(tmp_path / "workers.json")
        for n in range(50):
            record.write(b"%d" % n)
        await record.settled(PATIENCE_SECONDS)
        assert record.read(10) == b"49" and record.check()
        for n in range(500):  # while a thread is about to end its work
            record.write(b"%d" % n)
            await asyncio.to_thread(lambda n=n: eventually(lambda: record.read(10) == b"%d" % n))
        record.write(b"")
        await record.settled(PATIENCE_SECONDS)
        assert not record.check()

    asyncio.run(work())


async def left_behind(tmp_path: Path) -> list[int]:
    """Two workers of a daemon that is gone when this returns; their pids."""
    shop = Shop(tmp_path, HANG)
    shop.pool.wanted = 2
    shop.pool.step()
    return [process.child.pid for process in shop.pool.processes()]


def test_a_returning_daemon_takes_its_workers_back_and_gives_no_name_twice(tmp_path: Path) -> None:
    async def second(pids: list[int]) -> None:
        shop = Shop(tmp_path, HANG)
        shop.pool.wanted = 3
        assert [who.pid for who in shop.pool.remembered().values()] == pids
        shop.pool.step()
        for name in ("w1", "w2"):
            shop.pool.record_message(name, ready=True)
        shop.pool.step()
        assert shop.names() == ["w1", "w2", "w3"]
        assert [process.child.pid for process in shop.pool.processes()][:2] == pids
        os.kill(pids[0], signal.SIGKILL)
        os.waitpid(pids[0], 0)  # the test is their parent
        await shop.all_ended(1)
        assert (shop.ended[0].status, shop.ended[0].because) == (None, "it ended")
        await soon(lambda: [w["name"] for w in _written(tmp_path)] == ["w2", "w3"])
        await asyncio.gather(shop.pool.close(5.0), asyncio.to_thread(os.waitpid, pids[1], 0))

    pids = asyncio.run(left_behind(tmp_path))
    asyncio.run(asyncio.wait_for(second(pids), PATIENCE_SECONDS))


def test_a_returning_daemon_may_end_those_who_did_not_come_back_and_no_others(tmp_path: Path) -> None:
    async def second(pids: list[int]) -> None:
        shop = Shop(tmp_path, HANG)
        known = shop.pool.remembered()
        assert shop.pool.take_back("w1", known["w1"])  # it joined
        await shop.pool.end_lost()
        assert shop.names() == ["w1"]
        assert [(e.name, e.because) for e in shop.ended] == [
            ("w2", "it did not come back, and the address that clients connect to is in use")
        ]
        assert os.waitpid(pids[1], 0)[1] == signal.SIGABRT  # the test is their parent
        shop.pool.step()
        assert shop.names() == ["w1"]
        await asyncio.gather(shop.pool.close(5.0), asyncio.to_thread(os.waitpid, pids[0], 0))

    pids = asyncio.run(left_behind(tmp_path))
    asyncio.run(asyncio.wait_for(second(pids), PATIENCE_SECONDS))


@pytest.mark.parametrize("joined", [False, True])
def test_a_daemon_that_is_stopped_while_it_starts_ends_the_workers_of_the_former_one(
    tmp_path: Path, *, joined: bool
) -> None:
    async def second(pids: list[int]) -> None:
        shop = Shop(tmp_path, HANG)
        if joined:
            known = shop.pool.remembered()
            assert shop.pool.take_back("w1", known["w1"])
        closing = asyncio.gather(shop.pool.close(PATIENCE_SECONDS))
        await soon(lambda: all(_has_ended(pid) for pid in pids))
        statuses = [os.waitpid(pid, 0)[1] for pid in pids]  # the test is their parent
        assert statuses == [signal.SIGTERM, signal.SIGTERM]
        await closing
        assert {(e.name, e.retired) for e in shop.ended} == {("w1", True), ("w2", True)}
        assert not (tmp_path / "workers.json").exists()

    pids = asyncio.run(left_behind(tmp_path))
    try:
        asyncio.run(asyncio.wait_for(second(pids), PATIENCE_SECONDS))
    finally:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _has_ended(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def test_a_number_that_is_somebody_elses_now_is_neither_taken_nor_touched(tmp_path: Path) -> None:
    stranger = subprocess.Popen(program(HANG))
    try:
        who = identity(stranger.pid)
        assert who is not None
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        record = {"name": "w7", "pid": who.pid, "started_ticks": who.started_ticks - 1}
        (tmp_path / "workers.json").write_text(json.dumps({"boot": boot, "number": 7, "workers": [record]}))

        async def work(shop: Shop) -> None:
            assert shop.pool.remembered() == {}
            shop.pool.step()
            assert shop.names() == ["w8"]

        run(tmp_path, HANG, work)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_numbers_of_another_boot_mean_nobody(tmp_path: Path) -> None:
    me = identity(os.getpid())
    assert me is not None
    record = {"name": "w1", "pid": me.pid, "started_ticks": me.started_ticks}
    (tmp_path / "workers.json").write_text(json.dumps({"boot": "another", "number": 1, "workers": [record]}))

    async def work(shop: Shop) -> None:
        assert shop.pool.remembered() == {}

    run(tmp_path, HANG, work)


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b"\xff", b"[" * 100_000, b'{"boot": 1, "workers": 3, "number": null}']
)
def test_a_record_that_is_no_record_is_nobody(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "workers.json").write_bytes(content)

    async def work(shop: Shop) -> None:
        assert shop.pool.remembered() == {}
        shop.pool.step()
        assert shop.names() == ["w1"]

    run(tmp_path, HANG, work)


def test_a_record_that_can_not_be_written_stops_no_worker(tmp_path: Path) -> None:
    gone = tmp_path / "gone"

    async def work(shop: Shop) -> None:
        shop.pool.step()
        assert shop.names() == ["w1"]

    run(gone, HANG, work)
    assert not gone.exists()


def test_a_daemon_that_fails_while_starting_leaves_former_workers_alone(tmp_path: Path) -> None:
    async def first() -> int:
        shop = Shop(tmp_path, HANG)
        shop.pool.step()
        return shop.pid("w1")

    async def second() -> None:
        shop = Shop(tmp_path, HANG)
        ((name, who),) = shop.pool.remembered().items()
        assert shop.pool.take_back(name, who), "it had joined already"
        await shop.pool.leave()

    async def third(pid: int) -> None:
        shop = Shop(tmp_path, HANG)
        shop.pool.remembered()
        shop.pool.step()
        assert shop.pid("w1") == pid
        await asyncio.gather(shop.pool.close(5.0), asyncio.to_thread(os.waitpid, pid, 0))

    pid = asyncio.run(first())
    try:
        asyncio.run(second())
        assert identity(pid)
        asyncio.run(asyncio.wait_for(third(pid), PATIENCE_SECONDS))
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def test_a_worker_of_ours_is_started_with_its_settings_and_the_listening_socket(tmp_path: Path) -> None:
    async def work() -> None:
        pool = WorkerPool(
            runtime_dir=tmp_path,
            clock=SystemClock(),
            ended=lambda ended: ends.append(ended.status),
            drain=lambda name, notice: False,
            settings=lambda name: (WorkerSettings(name, "/w.sock", "/a.sock", 99, kind="no such kind"), 2),
        )
        ends: list[int | None] = []
        pool.wanted = 1
        pool.step()
        await soon(lambda: ends)
        assert ends == [3], "descriptor 99 is not a listening socket: it can never boot"

    asyncio.run(work())
