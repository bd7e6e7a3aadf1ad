"""What a machine does as the keeper of its fleet, with an engine of the test and no daemon around it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from tests.daemon.fleet.records import EXPIRES, ISSUED, KEY, record
from tests.fakes.clock import FakeClock

from modelward.daemon.config.load import Config, FleetSection
from modelward.daemon.config.schema import Models
from modelward.daemon.controllers.fleet_agent import FleetAgent
from modelward.daemon.controllers.fleet_local import FleetAccess
from modelward.daemon.fleet.engine import KeptProgress, LeaseTaken, NoRight
from modelward.daemon.fleet.membership import FleetMachine
from modelward.daemon.fleet.reports import MachineReport, ReceivedReport
from modelward.daemon.fleet.signature import sign_record
from modelward.daemon.fleet.waves import WaveProgress
from modelward.daemon.state.async_store import AsyncStore
from modelward.daemon.state.store import Store
from modelward.worker.shared.minisign_keys import make_key, public_line

OTHER_KEY = make_key(bytes(range(1, 41)))
NOTHING = SimpleNamespace(
    position=SimpleNamespace(word=None, serving=None), held={}, busy=False, command=None,
    executor=SimpleNamespace(current=None), choice=SimpleNamespace(waiting=("", "")),
)  # fmt: skip


class Engine:
    """A server with one record. `leases` is how often a keeper renewed its lease."""

    def __init__(self, text: bytes, clock: FakeClock) -> None:
        self.text, self.clock, self.leases, self.refuses = text, clock, 0, False
        self.reported: list[MachineReport] = []

    async def record(self) -> bytes:
        return self.text

    async def close(self) -> None:
        pass

    async def put_report(self, report: MachineReport) -> None:
        self.reported.append(report)

    async def reports(self) -> list[ReceivedReport]:
        return []

    async def kept_progress(self) -> KeptProgress:
        return KeptProgress(WaveProgress())

    async def keep_progress(self, progress: WaveProgress, revision: int) -> bool:
        return True

    async def lease(self, holder: str, seconds: float) -> LeaseTaken:
        if self.refuses:
            raise NoRight("the server refused the lease")
        self.leases += 1
        return LeaseTaken(self.clock.wall())


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(wall=ISSUED + 60)


@pytest.fixture
def engine(clock: FakeClock) -> Engine:
    return Engine(sign_record(record(), KEY), clock)


def agent(engine: Engine, clock: FakeClock, path: Path) -> FleetAgent:
    config = Config(
        models=Models(root=path),
        fleet=FleetSection(url="nats://127.0.0.1:1", public_keys=(public_line(KEY.public),), keeper=True, poll=60.0),
    )
    validation = SimpleNamespace(catalog={}, sight=None)
    access = FleetAccess(
        lambda: config, clock, cast(Any, validation), cast(Any, NOTHING),
        AsyncStore(Store(path / "state.db", clock), lambda entry: None), cast(Any, None), cast(Any, None),
    )  # fmt: skip
    return FleetAgent(access, cast(Any, engine), FleetMachine("k1"), happened=lambda: None)


async def polled(each: FleetAgent, clock: FakeClock) -> None:
    clock.advance(120)
    await each.step()


@pytest.mark.parametrize("why", ["of another key", "past its end by this clock"])
def test_a_keeper_that_refuses_the_record_on_the_server_leaves_the_lease_to_another_one(
    engine: Engine, clock: FakeClock, tmp_path: Path, why: str
) -> None:
    async def run() -> None:
        keeper = agent(engine, clock, tmp_path)
        await polled(keeper, clock)
        assert (engine.leases, keeper.refused, keeper.kept is not None) == (1, "", True)
        engine.text = sign_record(record(sequence=8), OTHER_KEY if why == "of another key" else KEY)
        if why != "of another key":
            clock.set_wall(EXPIRES + 1)
        await polled(keeper, clock)
        await polled(keeper, clock)
        assert (engine.leases, bool(keeper.refused), keeper.kept) == (1, True, None)
        assert not keeper.away and engine.reported[-1].because == keeper.refused
        await keeper.stop()

    asyncio.run(run())


def test_a_keeper_without_its_rights_follows_as_a_machine_and_is_not_away(
    engine: Engine, clock: FakeClock, tmp_path: Path
) -> None:
    async def run() -> None:
        keeper = agent(engine, clock, tmp_path)
        engine.refuses = True
        await polled(keeper, clock)
        assert not keeper.away and keeper.kept is None
        assert "modelward fleet admit k1 --role keeper" in keeper.not_keeper
        assert keeper.answer().refused == keeper.not_keeper and engine.reported[-1].sequence == 7
        engine.refuses = False
        await polled(keeper, clock)
        assert (keeper.not_keeper, keeper.answer().refused, keeper.kept is not None) == ("", "", True)
        await keeper.stop()

    asyncio.run(run())
