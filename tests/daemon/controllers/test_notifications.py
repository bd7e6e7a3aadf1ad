"""What counts as told, over a change of the receivers and over the end of the daemon."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from tests.daemon.controllers.test_alerting import HandClock
from tests.support import soon

from modelward.daemon.config.load import parse
from modelward.daemon.controllers.notifications import Notifications
from modelward.daemon.health.addresses import Address
from modelward.daemon.health.delivery import Outcome
from modelward.daemon.health.message_text import Text
from modelward.daemon.health.notification_planner import HeldBack, Item, MissedAlert

FULL = [Item("disk_used_percent:/", "critical", 9_000.0, "the disk is full")]
MISSED = MissedAlert("cpu_used_percent", "cpu_used_percent:", "01 Dec 03:00 to 03:20: the processors are busy")
HELD = HeldBack(frozenset(), {"warning": (MISSED.text,)})


class House:
    """Notifications to one address, which takes what it gets only if it is in `well`."""

    def __init__(self) -> None:
        self.clock, self.well, self.got = HandClock(), {"http://right.example/x"}, list[Text]()
        self.at("wrong")
        self.notifications = Notifications(
            lambda: self.config, self.clock, host="box", happened=lambda: None, changed=lambda: None, sender=self.send
        )

    def at(self, name: str) -> None:
        self.config = parse(f'alerts.to = ["http://{name}.example/x"]', "test")

    async def send(self, address: Address, text: Text) -> Outcome:
        if address.url not in self.well:
            return Outcome("it answered 401")
        self.got.append(text)
        return Outcome()

    def run(self, work: Callable[[Notifications], Awaitable[None]]) -> None:
        async def go() -> None:
            self.notifications.configure()
            try:
                await work(self.notifications)
            finally:
                await self.notifications.notifier.stop()

        asyncio.run(go())


def test_what_a_wrong_address_did_not_take_is_told_at_once_to_the_right_one() -> None:
    house = House()

    async def work(notifications: Notifications) -> None:
        notifications.take_up({}, {"warning": (MISSED,)})
        notifications.announce(FULL, HELD, {})
        await soon(lambda: notifications.notifier.channels[0].failures > 0)
        house.at("right")
        notifications.configure()
        notifications.announce(FULL, HELD, {})
        await soon(lambda: len(house.got) == 2)
        assert [text.title for text in house.got] == ["[critical] box: 1 firing", "[warning] box: 1 held back and over"]
        await soon(lambda: "disk_used_percent:/" in notifications.kept["critical"].firing)

    house.run(work)


def test_what_was_held_back_is_kept_until_a_receiver_took_it() -> None:
    house = House()

    async def work(notifications: Notifications) -> None:
        notifications.take_up({}, {"warning": (MISSED,)})
        notifications.announce([], HELD, {})
        await soon(lambda: notifications.notifier.channels[0].failures > 0)
        assert (notifications.missed, notifications.kept_missed) == ({"warning": ()}, {"warning": (MISSED,)})
        house.at("right")
        notifications.configure()
        notifications.announce([], HELD, {})
        await soon(lambda: notifications.kept_missed == {"warning": ()})

    house.run(work)
