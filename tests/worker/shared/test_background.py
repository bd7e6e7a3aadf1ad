"""A task of a worker that fails costs the worker no more than that task."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import structlog
from tests.fakes.daemon import FakeDaemon
from tests.support import PATIENCE_SECONDS, soon

from modelward.worker import protocol as p
from modelward.worker.daemon_link import DaemonLink
from modelward.worker.inference.engine import Engine
from modelward.worker.inference.loader import LoadedVersion
from modelward.worker.settings import Terms
from modelward.worker.shared.background import WorkerTasks
from modelward.worker.stats import Counters

LOG = structlog.get_logger("test")


def no_model(version: str, artifact: str) -> Any:
    raise AssertionError("not asked for")


class BrokenEngine(Engine):
    """Fails by a fault of its own, not by one of the version."""

    async def prepare(self, rollout: str, version: str, artifact: str) -> LoadedVersion:
        raise RuntimeError("nobody thought of it")


class BrokenCounters(Counters):
    """Cannot tell its numbers the first time."""

    asked = 0

    def beat(self) -> p.Beat:
        self.asked += 1
        if self.asked == 1:
            raise KeyError("no such number")
        return super().beat()


def control(path: Path, engine: Engine, counters: Counters) -> DaemonLink:
    return DaemonLink(
        str(path),
        name="w1",
        engine=engine,
        counters=counters,
        log=LOG,
        listener=lambda: None,
        terms=Terms,
        apply=lambda terms, tokens: None,
        reopen=lambda done: done(),
        drain=lambda notice: None,
        stop=lambda: None,
    )


def test_an_order_that_ends_by_an_unexpected_error_is_answered(tmp_path: Path) -> None:
    daemon = FakeDaemon(tmp_path / "workers.sock", p.Welcome())

    async def whole() -> None:
        running = asyncio.ensure_future(control(daemon.path, BrokenEngine(no_model), Counters()).run())
        await soon(lambda: bool(daemon.told(p.Beat)))
        daemon.say(p.Prepare("r1", "v1", "/nowhere"))
        await soon(lambda: bool(daemon.told(p.CannotPrepare)))
        (answer,) = daemon.told(p.CannotPrepare)
        assert (answer.rollout, answer.version) == ("r1", "v1")
        assert answer.reason == "cannot load v1: RuntimeError: nobody thought of it"
        running.cancel()
        await asyncio.wait({running})

    asyncio.run(asyncio.wait_for(whole(), PATIENCE_SECONDS))
    daemon.close()


def test_a_worker_that_can_give_no_sign_of_life_joins_anew(tmp_path: Path) -> None:
    daemon = FakeDaemon(tmp_path / "workers.sock", p.Welcome())

    async def whole() -> None:
        running = asyncio.ensure_future(control(daemon.path, Engine(no_model), BrokenCounters()).run())
        await soon(lambda: len(daemon.told(p.Hello)) == 2 and bool(daemon.told(p.Beat)))
        running.cancel()
        await asyncio.wait({running})

    asyncio.run(asyncio.wait_for(whole(), PATIENCE_SECONDS))
    daemon.close()


@pytest.mark.parametrize("restart", [False, True])
def test_a_task_that_fails_is_reported_to_the_part_that_started_it(restart: bool) -> None:
    reasons: list[str] = []
    runs = 0

    async def work() -> None:
        nonlocal runs
        runs += 1
        if runs == 1:
            raise OverflowError("too much")

    async def whole() -> None:
        await WorkerTasks(LOG).start("work", work, restart=restart, failed=reasons.append)

    asyncio.run(asyncio.wait_for(whole(), PATIENCE_SECONDS))
    assert reasons == ["OverflowError: too much"]
    assert runs == (2 if restart else 1)
