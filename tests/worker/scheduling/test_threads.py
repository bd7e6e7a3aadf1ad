from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest
from tests.support import PATIENCE_SECONDS, soon

from modelward.worker.scheduling.threads import Lanes


def threads(name: str) -> int:
    return sum(thread.name.startswith(name) for thread in threading.enumerate())


def test_there_are_as_many_threads_as_jobs_at_a_time_and_no_more() -> None:
    async def play() -> None:
        lanes, overs = Lanes("few"), list[int]()
        for _ in range(100):  # each begun the moment the one before is known to have ended
            await lanes.start(lambda: None, lambda: overs.append(1))
        assert threads("few") == 1 and len(overs) == 100
        together = threading.Barrier(3)
        await asyncio.gather(*(lanes.start(lambda: together.wait(PATIENCE_SECONDS), lambda: None) for _ in range(3)))
        assert threads("few") == 3
        await asyncio.gather(*(lanes.start(lambda: None, lambda: None) for _ in range(3)))
        assert threads("few") == 3

    asyncio.run(play())


def test_gives_the_result_or_what_was_raised() -> None:
    async def play() -> None:
        lanes = Lanes("both")
        assert await lanes.start(lambda: 7, lambda: None) == 7
        with pytest.raises(ZeroDivisionError):
            await lanes.start(lambda: 1 // 0, lambda: None)
        assert await lanes.start(lambda: 8, lambda: None) == 8

    asyncio.run(play())


def test_that_a_job_ended_is_said_when_nobody_waits_for_it_any_more() -> None:
    async def play() -> None:
        lanes, go, overs = Lanes("left"), threading.Event(), list[int]()
        answer = lanes.start(lambda: go.wait(PATIENCE_SECONDS), lambda: overs.append(1))
        answer.cancel()
        await asyncio.sleep(0)
        assert overs == [], "it still runs"
        go.set()
        await soon(lambda: overs == [1])

    asyncio.run(play())


@pytest.fixture
def no_more_threads() -> Iterator[None]:
    """The next thread asks for a stack that no machine has."""
    before = threading.stack_size(1 << 46)
    yield
    threading.stack_size(before)


def test_without_any_thread_to_be_had_it_says_so_and_nothing_is_left_waiting(no_more_threads: None) -> None:
    async def play() -> None:
        lanes, overs = Lanes("none"), list[int]()
        with pytest.raises(RuntimeError):
            lanes.start(lambda: None, lambda: overs.append(1))
        assert overs == [1]

    asyncio.run(play())


def test_with_too_few_threads_the_jobs_follow_one_another() -> None:
    async def play() -> None:
        lanes, go = Lanes("one"), threading.Event()
        first = lanes.start(lambda: go.wait(PATIENCE_SECONDS), lambda: None)
        before = threading.stack_size(1 << 46)
        second = lanes.start(lambda: 2, lambda: None)
        threading.stack_size(before)
        await asyncio.sleep(0)
        assert not second.done()
        go.set()
        assert await first and await second == 2
        assert threads("one") == 1

    asyncio.run(play())
