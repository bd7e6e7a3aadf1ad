"""Bounds how much decoded audio a worker holds at once, and decides which request may hold more next.

It decides and waits; it knows no audio. Short clips are not counted. Invariants: unless a clip is longer than it
declared, no more than the limit is held, or one clip. No client has more than its share while it has more than one
clip. Of those that wait the shortest comes first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

from msgspec import Struct

CLIENT_SHARE = 0.5
"""A share of the limit."""


class Crowded(Exception):
    """Too many wait already; the text names whose."""


class AudioShare(Struct, eq=False):
    """What one request holds, in bytes, and the larger amount that it waits for. `client` "" is no client in
    particular.
    """

    client: str
    held: int = 0
    wanted: int = 0
    granted: asyncio.Event | None = None


def next_granted(waiting: Sequence[AudioShare], all_shares: Collection[AudioShare], limit: int) -> AudioShare | None:
    """Which of `waiting` gets what it wants now, the shortest first; None for none. Pure.

    The oldest holder gets more at once: two that wait for each other would wait for ever.
    """
    total = sum(share.held for share in all_shares)
    oldest = next((share for share in all_shares if share.held), None)
    for share in sorted(waiting, key=lambda share: share.wanted):
        theirs = sum(other.held for other in all_shares if other.client == share.client) - share.held
        fits = total - share.held + share.wanted <= limit or total == share.held
        fair = not share.client or theirs == 0 or theirs + share.wanted <= CLIENT_SHARE * limit
        if share is oldest or fits and fair:
            return share
    return None


class Hold:
    """The shares of all requests of a worker. All methods belong to the event loop.

    `places`: how many clips may wait; one client gets half of them.
    """

    def __init__(self, limit_bytes: int, places: int) -> None:
        self._limit, self._places = limit_bytes, places
        self._shares: dict[AudioShare, None] = {}

    @property
    def bytes(self) -> int:
        """The bytes held now."""
        return sum(share.held for share in self._shares)

    def limit(self, limit_bytes: int, places: int) -> None:
        """Sets other limits from now on. What is held stays held, and what waits still waits."""
        self._limit, self._places = limit_bytes, places
        self._grant()

    @contextmanager
    def share(self, client: str) -> Iterator[AudioShare]:
        """One request's share: nothing at first; given back at the end."""
        share = AudioShare(client)
        self._shares[share] = None
        try:
            yield share
        finally:
            del self._shares[share]
            self._grant()

    async def claim(self, share: AudioShare, amount: int) -> None:
        """Waits until the request may hold `amount` in all. Raises Crowded when too many wait already."""
        share.wanted, share.granted = amount, asyncio.Event()
        self._grant()
        if not share.granted.is_set() and share.client:
            self._check_places(share)
        await share.granted.wait()

    def _check_places(self, share: AudioShare) -> None:
        others = [other for other in self._waiting() if other is not share and other.client]
        if len(others) >= self._places:
            raise Crowded(f"{len(others)} long clips wait already")
        theirs = sum(other.client == share.client for other in others)
        if theirs >= max(1, self._places // 2):
            raise Crowded(f"{theirs} long clips of this client wait already")

    def _waiting(self) -> list[AudioShare]:
        return [share for share in self._shares if share.granted is not None and not share.granted.is_set()]

    def settle(self, share: AudioShare, amount: int) -> None:
        """Records that it became `amount` in truth."""
        share.held = amount
        self._grant()

    def _grant(self) -> None:
        while True:
            share = next_granted(self._waiting(), self._shares, self._limit)
            if share is None:
                return
            assert share.granted is not None
            share.held = max(share.held, share.wanted)
            share.granted.set()
