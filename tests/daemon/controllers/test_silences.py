"""What is held back, by mutes, acknowledgements, quiet hours and maintenance, of a daemon in the test's hands."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.daemon.controllers.test_alerting import World, run

from modelward.daemon.config.load import parse
from modelward.daemon.controllers.alerting import AlertManager
from modelward.daemon.errors import ModelwardError
from modelward.daemon.health.alerts import Figure


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_a_muted_alert_is_shown_and_not_sent_until_the_mute_ends_also_over_a_restart(world: World) -> None:
    async def first(alert_manager: AlertManager) -> None:
        world.activation.complaint = "cannot go on"
        answer = await alert_manager.silences.mute("needs_operator", "1h", "moving house")
        assert answer.success and "needs_operator is muted until " in answer.message
        await world.pass_time(alert_manager, 300)
        assert world.sent == []
        (alert,) = alert_manager.active()
        assert alert.held.startswith("muted until ") and alert.held.endswith(": moving house")

    async def second(alert_manager: AlertManager) -> None:
        assert [mute.name for mute in alert_manager.alerts().mutes] == ["needs_operator"]
        await world.pass_time(alert_manager, 3000, step=60)
        assert world.sent == []
        await world.pass_time(alert_manager, 400, step=20)
        assert [text.title for text in world.sent] == ["[critical] box: 1 firing"]
        kinds = [entry.kind for entry in await world.async_store.do(lambda store: store.history(20))]
        assert "alert-muted" in kinds

    async def both() -> None:
        await world.during(first)
        await world.during(second)

    run(both())


def test_unmute_sends_what_waits_and_an_acknowledged_alert_is_not_repeated(world: World) -> None:
    async def work(alert_manager: AlertManager) -> None:
        silences = alert_manager.silences
        world.config = parse('alerts.to = ["http://a.example/x"]\nalerts.repeat = "10m"', "test")
        world.activation.complaint = "cannot go on"
        await silences.mute("all", 3600, "")
        await world.pass_time(alert_manager, 100)
        assert world.sent == []
        await silences.unmute("")
        await world.pass_time(alert_manager, 100)
        assert len(world.sent) == 1
        assert (await silences.acknowledge("needs_operator", "on my way")).success
        await world.pass_time(alert_manager, 3600, step=60)
        assert len(world.sent) == 1
        (alert,) = alert_manager.active()
        assert alert.acknowledged and alert.acknowledged.because == "on my way"
        world.activation.complaint = ""
        await world.pass_time(alert_manager, 300)
        assert [text.title for text in world.sent][1:] == ["[critical] box: 1 over"]
        assert silences.acknowledged == {}

    run(world.during(work))


@pytest.mark.parametrize(
    ("command", "because"),
    [
        (lambda s: s.mute("need_operator", "1h", ""), "there is no alert of that name; did you mean needs_operator?"),
        (lambda s: s.mute("all", "31d", ""), "31d is out of range; 1s to 30d"),
        (lambda s: s.mute("all", "soon", ""), '"soon" is no duration'),
        (lambda s: s.unmute("all"), "this name is not muted"),
        (lambda s: s.unmute(""), "nothing is muted"),
        (lambda s: s.acknowledge("cpu_used_percent", ""), "it does not fire"),
    ],
)
def test_a_mute_that_cannot_be_meant_is_refused_with_its_reason(
    world: World, command: Callable[[Any], Awaitable[Any]], because: str
) -> None:
    async def work(alert_manager: AlertManager) -> None:
        with pytest.raises(ModelwardError, match="cannot ") as refused:
            await command(alert_manager.silences)
        assert because in str(refused.value)

    run(world.during(work))


def test_mutes_are_bounded(world: World) -> None:
    async def work(alert_manager: AlertManager) -> None:
        alert_manager.more.append(lambda: [Figure("mount_stuck", 1.0, f"/m{n}") for n in range(101)])
        alert_manager.more_metrics.add("mount_stuck")
        alert_manager.check()
        for number in range(100):
            await alert_manager.silences.mute(f"mount_stuck:/m{number}", "1h", "")
        with pytest.raises(ModelwardError, match="there are 100 mutes already"):
            await alert_manager.silences.mute("mount_stuck:/m100", "1h", "")
        assert (await alert_manager.silences.mute("mount_stuck:/m1", "2h", "")).success

    run(world.during(work))


def test_quiet_hours_let_critical_ones_pass_and_end_with_one_summary(world: World) -> None:
    hours = f"""
        alerts.to = ["http://a.example/x"]
        alerts.time_zone = "UTC"
        alerts.quiet = {{from = "{_clock(world, 0)}", to = "{_clock(world, 7200)}"}}
    """

    async def work(alert_manager: AlertManager) -> None:
        world.config = parse(hours, "test")
        world.refused = "configuration refused: x"  # a warning
        await world.pass_time(alert_manager, 300)
        assert world.sent == []
        world.refused = ""
        world.watch.state, world.watch.because = "polling", "a limit"  # another one, which lasts
        await world.pass_time(alert_manager, 300)
        assert world.sent == []
        world.activation.complaint = "cannot go on"  # critical
        await world.pass_time(alert_manager, 100)
        assert [text.title for text in world.sent] == ["[critical] box: 1 firing"]
        await world.pass_time(alert_manager, 7200, step=60)
        (summary,) = [text for text in world.sent if text.title.startswith("[warning]")]
        assert summary.title == "[warning] box: 1 firing, 1 held back and over"
        assert "HELD BACK " in summary.body and "configuration refused: x" in summary.body
        assert "WARNING the model root is not watched" in summary.body

    run(world.during(work))


def test_what_came_and_went_in_a_window_of_its_own_is_told_after_it_also_over_a_restart(world: World) -> None:
    start = datetime.fromtimestamp(world.clock.wall(), UTC)
    window = f"""
        alerts.to = ["http://a.example/x"]
        alerts.time_zone = "UTC"
        [[alerts.maintenance]]
        start = "{start.minute} {start.hour} * * *"
        for = "1h"
        alerts = ["needs_operator"]
    """

    async def first(alert_manager: AlertManager) -> None:
        world.config = parse(window, "test")
        world.activation.complaint, world.refused = "cannot go on", "configuration refused: x"
        await world.pass_time(alert_manager, 100)
        world.activation.complaint = ""
        await world.pass_time(alert_manager, 100)
        assert [text.title for text in world.sent] == ["[warning] box: 1 firing"]

    async def second(alert_manager: AlertManager) -> None:
        await world.pass_time(alert_manager, 3700, step=60)
        (held,) = [text for text in world.sent if text.title.startswith("[critical]")]
        assert held.title == "[critical] box: 1 held back and over" and "cannot go on" in held.body

    async def both() -> None:
        await world.during(first)
        await world.during(second)

    run(both())


def test_what_came_and_went_while_it_was_muted_is_not_told(world: World) -> None:
    async def work(alert_manager: AlertManager) -> None:
        world.activation.complaint = "cannot go on"
        await alert_manager.silences.mute("needs_operator", "10m", "")
        await world.pass_time(alert_manager, 100)
        world.activation.complaint = ""
        await world.pass_time(alert_manager, 1000, step=20)
        assert world.sent == []

    run(world.during(work))


def _clock(world: World, later: float) -> str:
    return datetime.fromtimestamp(world.clock.wall() + later, UTC).strftime("%H:%M")
