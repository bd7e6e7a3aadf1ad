"""A wake-up is never lost, and a client that waits for a round sees the next one's end."""

from __future__ import annotations

import asyncio

from tests.fakes.clock import FakeClock
from tests.support import PATIENCE_SECONDS

from modelward.daemon.controllers.wakeups import Wakeups

HOUR = 3600.0


def test_a_wake_up_during_a_round_has_another_round_follow_at_once() -> None:
    async def play() -> None:
        wakeups = Wakeups(FakeClock())
        wakeups.wake()
        wakeups.begin()
        wakeups.wake()
        wakeups.end()
        assert wakeups.deciding
        await asyncio.wait_for(wakeups.woken(HOUR), PATIENCE_SECONDS)

    asyncio.run(play())


def test_the_daemon_is_deciding_from_the_wake_up_to_the_end_of_its_round() -> None:
    async def play() -> list[bool]:
        wakeups = Wakeups(FakeClock())
        seen = [wakeups.deciding]
        for step in (wakeups.wake, wakeups.begin, wakeups.end):
            step()
            seen.append(wakeups.deciding)
        return seen

    assert asyncio.run(play()) == [False, True, True, False]


def test_who_waits_for_a_round_goes_on_when_it_ends_and_not_before() -> None:
    async def play() -> None:
        wakeups = Wakeups(FakeClock())
        waiting = asyncio.create_task(wakeups.next_round(HOUR))
        await asyncio.sleep(0)
        wakeups.begin()
        await asyncio.sleep(0)
        assert not waiting.done()
        wakeups.end()
        await asyncio.wait_for(waiting, PATIENCE_SECONDS)

    asyncio.run(play())


def test_a_round_that_does_not_come_keeps_nobody_waiting_for_longer_than_was_said() -> None:
    asyncio.run(asyncio.wait_for(Wakeups(FakeClock()).next_round(0.0), PATIENCE_SECONDS))
