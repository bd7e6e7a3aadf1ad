"""Each controller by itself: whatever one raises, and however long it takes, the others run, and a failure shows."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from tests.fakes.clock import FakeClock
from tests.support import PATIENCE_SECONDS, soon
from tests.unexpected import UNEXPECTED

from modelward.daemon.controllers.round import (
    STUCK_SECONDS,
    UNKNOWN_SECONDS,
    WRONG_SECONDS,
    Round,
)
from modelward.daemon.system.background import Background
from modelward.daemon.system.failures import PAUSES_SECONDS

NAMES = ("first", "second", "third")


class Part:
    """A controller; raises `error`, or waits for `gate`, where that is set."""

    def __init__(self, name: str) -> None:
        self.name, self.ran = name, 0
        self.error: Callable[[], BaseException] | None = None
        self.due_error: Callable[[], BaseException] | None = None
        self.gate: asyncio.Event | None = None
        self.due: float | None = None

    async def ensure(self) -> None:
        self.ran += 1
        if self.error is not None:
            raise self.error()
        if self.gate is not None:
            await self.gate.wait()

    def next_due(self) -> float | None:
        if self.due_error is not None:
            raise self.due_error()
        return self.due

    async def stop(self) -> None:
        return


class Rounds:
    """Three controllers in a round, and a clock that a test moves."""

    def __init__(self) -> None:
        self.clock, self.woken = FakeClock(), 0
        self.background = Background(self.clock, happened=self._wake)
        self.parts = [Part(name) for name in NAMES]
        self.round = Round(self.parts, self.clock, self.background, move_on_seconds=0.01)

    def _wake(self) -> None:
        self.woken += 1

    def failing(self) -> list[str]:
        return [failure.part for failure in self.background.failures.current()]


def on_loop(test: Callable[[Rounds], Awaitable[None]]) -> None:
    async def whole() -> None:
        await asyncio.wait_for(test(Rounds()), PATIENCE_SECONDS)

    asyncio.run(whole())


@pytest.mark.parametrize("error", UNEXPECTED)
@pytest.mark.parametrize("number", range(len(NAMES)))
def test_a_controller_that_raises_anything_stops_no_other_and_is_tried_again(
    number: int, error: Callable[[], BaseException]
) -> None:
    async def test(rounds: Rounds) -> None:
        part = rounds.parts[number]
        part.error = error
        await rounds.round.run()
        assert rounds.failing() == [part.name], "within the same round"
        assert rounds.woken == 1, "and another round is asked for, which shows it"
        assert rounds.round.next_due() == rounds.clock.monotonic() + PAUSES_SECONDS[0]
        await rounds.round.run()
        assert [p.ran for p in rounds.parts] == [1 if p is part else 2 for p in rounds.parts], "it rests for a while"
        part.error = None
        rounds.clock.advance(PAUSES_SECONDS[0])
        await rounds.round.run()
        assert (part.ran, rounds.failing()) == (2, [])
        rounds.background.failures.report()
        assert rounds.round.next_due() is None

    on_loop(test)


@pytest.mark.parametrize("error", UNEXPECTED)
def test_a_controller_that_cannot_say_when_it_is_due_is_asked_again_soon(error: Callable[[], BaseException]) -> None:
    async def test(rounds: Rounds) -> None:
        rounds.parts[1].due_error, rounds.parts[2].due = error, rounds.clock.monotonic() + 3600
        assert rounds.round.next_due() == rounds.clock.monotonic() + UNKNOWN_SECONDS
        assert rounds.failing() == ["second.next_due"]
        rounds.parts[1].due_error = None
        rounds.round.next_due()
        assert rounds.failing() == []
        rounds.background.failures.report()
        assert rounds.round.next_due() == rounds.parts[2].due

    on_loop(test)


def test_a_controller_that_hangs_is_left_running_and_the_others_go_on() -> None:
    async def test(rounds: Rounds) -> None:
        part = rounds.parts[0]
        part.gate = asyncio.Event()
        for _ in range(3):
            await rounds.round.run()
        assert [p.ran for p in rounds.parts] == [1, 3, 3]
        assert rounds.failing() == []
        rounds.clock.advance(STUCK_SECONDS + 1)
        await rounds.round.run()
        assert rounds.failing() == ["first"]
        part.gate.set()
        await soon(lambda: not rounds.failing())
        part.gate = None
        await rounds.round.run()
        await rounds.round.run()
        assert part.ran == 2

    on_loop(test)


def test_a_controller_that_fails_for_long_is_not_all_well() -> None:
    async def test(rounds: Rounds) -> None:
        rounds.parts[1].error = lambda: RuntimeError("still")
        for _ in range(int(WRONG_SECONDS)):
            assert rounds.round.wrong() == ""
            await rounds.round.run()
            rounds.clock.advance(1.0)
        rounds.clock.advance(1.0)
        assert rounds.round.wrong() == f"second has failed for more than {WRONG_SECONDS:g} s: RuntimeError: still"
        rounds.parts[1].error = None
        rounds.clock.advance(PAUSES_SECONDS[-1])
        await rounds.round.run()
        assert rounds.round.wrong() == ""

    on_loop(test)


def test_a_round_that_is_to_end_waits_for_no_controller_and_begins_none() -> None:
    async def test(rounds: Rounds) -> None:
        slow = Round(rounds.parts, rounds.clock, rounds.background, move_on_seconds=PATIENCE_SECONDS)
        rounds.parts[0].gate = asyncio.Event()
        running = asyncio.ensure_future(slow.run())
        await soon(lambda: rounds.parts[0].ran == 1)
        slow.end_soon()
        await running
        assert [p.ran for p in rounds.parts] == [1, 0, 0]
        assert rounds.failing() == []

    on_loop(test)
