"""Whose turn it is to hold more decoded audio."""

from __future__ import annotations

import asyncio

import pytest

from modelward.worker.scheduling.audio_budget import (
    AudioShare,
    Crowded,
    Hold,
    next_granted,
)


def _waits(client: str, wanted: int, held: int = 0) -> AudioShare:
    return AudioShare(client, held, wanted, asyncio.Event())


@pytest.mark.parametrize(
    ("held", "waiting", "wanted"),
    [
        ([], [("a", 300)], 300),  # nothing is held: even more than the limit
        ([("b", 60)], [("a", 50)], None),  # the limit is 100
        ([("b", 60)], [("a", 40), ("c", 30)], 30),  # the shortest first
        ([("a", 40)], [("a", 20)], None),  # half is the most of one client
        ([("a", 40)], [("a", 20), ("c", 30)], 30),  # it keeps out nobody else
        ([("a", 40)], [("a", 10)], 10),
        ([("", 60)], [("", 30)], 30),  # nobody in particular has no share
    ],
)
def test_the_shortest_that_fits_comes_next_and_no_client_has_more_than_half(
    held: list[tuple[str, int]], waiting: list[tuple[str, int]], wanted: int | None
) -> None:
    holders = [AudioShare(client, amount) for client, amount in held]
    queue = [_waits(client, amount) for client, amount in waiting]
    found = next_granted(queue, [*holders, *queue], 100)
    assert (found.wanted if found else None) == wanted


def test_two_that_turn_out_longer_than_they_said_do_not_wait_for_one_another() -> None:
    first, second = _waits("a", 100, held=40), _waits("b", 100, held=40)
    assert next_granted([second, first], [first, second], 100) is first


def test_what_is_given_back_goes_to_who_waits_and_a_request_that_ends_waits_no_more() -> None:
    async def play() -> None:
        hold = Hold(100, 9)
        with hold.share("b") as mine, hold.share("a") as theirs:
            await hold.claim(mine, 80)
            with hold.share("c") as leaving:
                left = asyncio.create_task(hold.claim(leaving, 25))
                waiting = asyncio.create_task(hold.claim(theirs, 50))
                await asyncio.sleep(0)
                left.cancel()
            assert not waiting.done()
            hold.settle(mine, 30)  # shorter than it said
            await waiting
            assert hold.bytes == 80
        assert hold.bytes == 0

    asyncio.run(play())


def test_long_clips_of_one_client_leave_places_to_wait_for_others_and_all_of_them_leave_some_for_short_ones() -> None:
    async def play() -> None:
        hold, waiting = Hold(100, 4), []

        async def come(client: str) -> None:
            with hold.share(client) as share:
                await hold.claim(share, 90)
                await asyncio.Event().wait()

        async def refused(client: str, because: str) -> None:
            with hold.share(client) as share, pytest.raises(Crowded, match=because):
                await hold.claim(share, 90)

        for clients, newcomer, because in (("aaa", "a", "of this client"), ("bc", "d", "4 long clips wait")):
            for client in clients:
                waiting.append(asyncio.create_task(come(client)))
                await asyncio.sleep(0)
            await refused(newcomer, because)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert hold.bytes == 0

    asyncio.run(play())
