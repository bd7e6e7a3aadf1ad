"""The digest of a daemon whose parts the test holds in its hands: sent once a day, also over a restart."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from tests.daemon.controllers.test_alerting import World, run
from tests.support import soon

from modelward.daemon.config.load import parse
from modelward.daemon.controllers.alerting import AlertManager
from modelward.daemon.controllers.digest import Digest
from modelward.daemon.health.probe_record import ProbeRecord
from modelward.daemon.units import DAY


def test_is_sent_once_when_it_is_due_and_not_again_by_the_next_daemon(tmp_path: Path) -> None:
    world = World(tmp_path)
    later = datetime.fromtimestamp(world.clock.wall() + 3600, UTC).strftime("%H:%M")
    world.config = parse(f'alerts = {{to = ["http://a.example/x"], time_zone = "UTC", digest = "{later}"}}', "test")

    def digest_of(alert_manager: AlertManager) -> Digest:
        alert_manager.check(at_once=True)
        return Digest(
            lambda: world.config,
            world.clock,
            world.async_store,
            snapshot=world.snapshot,
            alert_manager=alert_manager,
            probe=ProbeRecord(off="no clip"),
        )

    async def first(alert_manager: AlertManager) -> None:
        digest = digest_of(alert_manager)
        seconds = await digest.step()
        assert seconds is not None and 3540 <= seconds <= 3600 and world.sent == []
        world.clock.now += 3600
        await digest.step()
        await soon(lambda: len(world.sent) == 1)
        assert "serving v1" in world.sent[0].body and "probes: off: no clip" in world.sent[0].body
        world.clock.now += 400 * DAY  # the clock is set far ahead, and right again
        await digest.step()
        await soon(lambda: len(world.sent) == 2)
        world.clock.now -= 400 * DAY
        await digest.step()
        world.clock.now += DAY
        await digest.step()
        await soon(lambda: len(world.sent) == 3)

    async def second(alert_manager: AlertManager) -> None:
        await digest_of(alert_manager).step()
        await world.pass_time(alert_manager, 30)
        assert len(world.sent) == 3

    async def both() -> None:
        await world.during(first)
        await world.during(second)

    run(both())


def test_none_is_sent_without_a_time(tmp_path: Path) -> None:
    world = World(tmp_path)

    async def work(alert_manager: AlertManager) -> None:
        digest = Digest(
            lambda: world.config, world.clock, world.async_store,
            snapshot=world.snapshot, alert_manager=alert_manager, probe=ProbeRecord(),
        )  # fmt: skip
        assert await digest.step() is None

    run(world.during(work))
