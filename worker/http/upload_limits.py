"""Bounds the uploads under way in one worker: how many, how many bytes, how fast, and which one makes room for others.

A slow upload costs its sender nothing and takes a place here. So one that stays below the least rate is ended, and
where a limit is reached, the slowest is. It must not wait, and must not read bodies. Invariant: places and bytes are
bounded; an upload that comes at once is not refused because of slow ones.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Final

from msgspec import Struct, field

GRACE_SECONDS: Final = 10.0
"""The least rate is measured over this time; a younger upload is not checked."""
LOOK_SECONDS: Final = 0.5
RECENT_LOOKS: Final = 3
"""The number of checks over which the slowest upload is determined."""
YOUNG_SECONDS: Final = 1.0
"""A younger upload takes none of the places: most are over by then."""
NEW_SECONDS: Final = 0.1
"""A younger upload is not ended for others."""
SLOW_RATE: Final = 64 * 1024
"""Bytes a second; an upload below it may be ended for others."""
SMALL_BYTES: Final = 2 << 20
"""Uploads up to this size may use all of the bytes; larger ones leave an eighth."""
PIECE_SECONDS: Final = 0.001
"""The pause between two pieces of all large uploads of a worker while it has other requests; a piece is about
100 KB.
"""
WAITING_PART: Final = 4
"""One part in so many of the bytes is for messages that no request has read yet, half of that for one client."""
ONE_WAITING_BYTES: Final = 2 << 20
"""A client may always have this much waiting if it has nothing else waiting."""
AT_ONCE: Final = 512
"""Uploads under way, young ones included."""


class Full(Exception):
    """There is no room for this upload; the text names the limit."""


class TooSlow(Exception):
    """The upload was ended; the text gives the reason."""


class Upload(Struct, eq=False):
    """One body that is being read. `bytes` counts what is kept of it; times are monotonic seconds."""

    client: str
    began: float
    bytes: int = 0
    moved: int = 0
    marks: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=int(GRACE_SECONDS / LOOK_SECONDS)))
    because: str = ""
    limit: asyncio.Timeout | None = None

    def rate(self, now: float, looks: int = 0) -> float:
        """Bytes a second over the last `looks` checks; 0: over all that are known."""
        marks = self.marks if not looks or len(self.marks) <= looks else list(self.marks)[-looks:]
        since, moved = marks[0] if marks else (self.began, 0)
        return (self.moved - moved) / max(now - since, 1e-3)


def slowest(
    uploads: Iterable[Upload], now: float, *, at_least_seconds: float, large: Callable[[str], bool], client: str
) -> Upload | None:
    """The upload to end for one of `client`: the slowest that is slow, or that belongs to another, `large` client.
    Pure.
    """
    found = [
        (upload.rate(now, RECENT_LOOKS), -upload.bytes, number, upload)
        for number, upload in enumerate(uploads)
        if now - upload.began >= at_least_seconds
    ]
    may = [entry for entry in found if entry[0] < SLOW_RATE or (entry[3].client != client and large(entry[3].client))]
    return min(may)[3] if may else None


def slow_ones(uploads: Iterable[Upload], now: float, *, at_least_seconds: float) -> list[Upload]:
    """The uploads that may be ended for any client, the slowest last. Pure."""
    found = [
        (rate, -upload.bytes, number, upload)
        for number, upload in enumerate(uploads)
        if now - upload.began >= at_least_seconds and (rate := upload.rate(now, RECENT_LOOKS)) < SLOW_RATE
    ]
    return [entry[3] for entry in sorted(found, reverse=True)]


class Uploads:
    """The counts of one worker. All methods belong to the event loop.

    `places`: uploads that last; `most_bytes`: of all together, read or being read; `least_rate`: bytes a second, 0 for
    none. `monotonic` is the loop's clock; `requests` returns how many requests the worker has in all.
    """

    def __init__(
        self,
        *,
        places: int,
        most_bytes: int,
        least_rate: int,
        monotonic: Callable[[], float],
        requests: Callable[[], int] = lambda: 0,
    ) -> None:
        self.limit(places=places, most_bytes=most_bytes, least_rate=least_rate)
        self._now, self._requests = monotonic, requests
        self._next_piece = 0.0
        self._reading: set[Upload] = set()
        self._slow: list[Upload] = []  # from a short time ago: a new search for each upload would cost too much
        self._held: dict[str, int] = {}
        self._waiting: Counter[str] = Counter()
        self._bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._looked = 0.0

    def __len__(self) -> int:
        """The number of uploads that are being read."""
        return len(self._reading)

    def limit(self, *, places: int, most_bytes: int, least_rate: int) -> None:
        """Sets other limits from now on; uploads beyond them make room when others come."""
        self._places, self._most_bytes, self._least_rate = places, most_bytes, least_rate

    @property
    def bytes(self) -> int:
        """The bytes of all bodies that are held."""
        return self._bytes

    @contextmanager
    def held(self, client: str) -> Iterator[Upload]:
        """Holds a body of this client; its bytes are counted until the end of the context."""
        upload = Upload(client, self._now())
        try:
            yield upload
        finally:
            self._release(upload)

    @asynccontextmanager
    async def reading(self, upload: Upload) -> AsyncIterator[Callable[[int], None]]:
        """The place of a body while it is read; yields the function that counts its bytes, which may raise UploadsFull.

        Raises UploadsFull when there is no place, TooSlow when the upload was ended.
        """
        upload.began = self._now()
        self._enter(upload)
        try:
            async with asyncio.timeout(None) as upload.limit:
                yield partial(self._count, upload)
        except TimeoutError:
            if upload.because:
                raise TooSlow(upload.because) from None
            raise
        finally:
            self._reading.discard(upload)
            if not self._reading and self._timer is not None:
                self._timer.cancel()
                self._timer = None

    @contextmanager
    def waiting(self, client: str) -> Iterator[Callable[[int], None]]:
        """Bytes of this client that came before they are read as a body; yields what sets how many they are now, which
        may raise Full. None are counted any more at the end of the context."""
        upload = Upload(client, self._now())
        try:
            yield partial(self._wait, upload)
        finally:
            self._wait(upload, 0)

    async def give_way(self, received: int) -> None:
        """Waits before the next piece of a large upload when other requests need the loop. So far `received` bytes have
        come.
        """
        if received <= SMALL_BYTES:
            return
        if self._requests() <= sum(upload.moved > SMALL_BYTES for upload in self._reading):
            return
        now = self._now()
        self._next_piece = max(now, self._next_piece) + PIECE_SECONDS
        await asyncio.sleep(self._next_piece - now)

    def _count(self, upload: Upload, amount: int) -> None:
        upload.moved += amount
        most = self._most_bytes if upload.bytes + amount <= SMALL_BYTES else self._most_bytes - self._most_bytes // 8
        while self._bytes + amount > most:
            others = [other for other in self._reading if other is not upload and other.bytes]
            if not self._end_slowest(others, upload.client, NEW_SECONDS, "others need its bytes"):
                raise Full(f"cannot take the upload: {self._bytes} bytes of uploads are in work already")
        upload.bytes += amount
        self._bytes += amount
        self._held[upload.client] = self._held.get(upload.client, 0) + amount

    def _wait(self, upload: Upload, amount: int) -> None:
        more, client = amount - upload.bytes, upload.client
        if more > 0:
            room, others = self._most_bytes // WAITING_PART, self._waiting[client] - upload.bytes
            mine = room // 2 if others else ONE_WAITING_BYTES
            if self._waiting.total() + more > max(room, ONE_WAITING_BYTES) or others + amount > mine:
                raise Full(f"cannot take the message: {self._waiting.total()} bytes wait to be read already")
            self._count(upload, more)
        else:
            self._release(upload, -more)
        self._waiting[client] += more
        if not self._waiting[client]:
            del self._waiting[client]

    def _release(self, upload: Upload, amount: int | None = None) -> None:
        """Counts so many of its bytes no more; all of them without a number."""
        amount = upload.bytes if amount is None else amount
        self._bytes -= amount
        left = self._held.get(upload.client, 0) - amount
        if left > 0:
            self._held[upload.client] = left
        else:
            self._held.pop(upload.client, None)
        upload.bytes -= amount

    def end_slowest(self) -> bool:
        """Ends the slowest upload, for a connection that waits. False when there is none to end."""
        return self._end_slow() or self._end_slowest(self._reading, "", NEW_SECONDS, "others wait")

    # deciding

    def _enter(self, upload: Upload) -> None:
        now = self._now()
        while len(self._reading) >= AT_ONCE:
            if not (self._end_slow() or self._end_slowest(self._reading, upload.client, NEW_SECONDS, "others wait")):
                raise Full(f"cannot take the upload: {AT_ONCE} are under way already")
        lasting = self._lasting(now)
        if len(lasting) >= self._places and not any(
            self._slowest((other,), upload.client, YOUNG_SECONDS) for other in lasting
        ):
            raise Full(f"cannot take the upload: {len(lasting)} are under way already")
        self._reading.add(upload)
        if self._timer is None:
            self._looked = now
            self._timer = asyncio.get_running_loop().call_later(LOOK_SECONDS, self._look)

    def _look(self) -> None:
        now = self._now()
        stopped = now - self._looked > 4 * LOOK_SECONDS  # this process did not run: no upload was slow meanwhile
        self._looked = now
        self._timer = asyncio.get_running_loop().call_later(LOOK_SECONDS, self._look)
        for upload in tuple(self._reading):
            if stopped:
                upload.marks.clear()
                upload.began = max(upload.began, now - NEW_SECONDS)
            elif self._least_rate and now - upload.began >= GRACE_SECONDS and upload.rate(now) < self._least_rate:
                self._end(upload, f"it brought less than {self._least_rate} bytes a second")
            upload.marks.append((now, upload.moved))
        excess = max(0, len(lasting := self._lasting(now)) - self._places)
        for upload in slow_ones(lasting, now, at_least_seconds=YOUNG_SECONDS)[::-1][:excess]:
            self._end(upload, "others wait")
        while len(lasting := self._lasting(now)) > self._places:
            if not self._end_slowest(lasting, "", YOUNG_SECONDS, "others wait"):
                return

    def _lasting(self, now: float) -> list[Upload]:
        return [upload for upload in self._reading if now - upload.began >= YOUNG_SECONDS]

    def _slowest(self, uploads: Iterable[Upload], client: str, at_least_seconds: float) -> Upload | None:
        return slowest(uploads, self._now(), at_least_seconds=at_least_seconds, large=self._large, client=client)

    def _large(self, client: str) -> bool:
        """Whether a client has more than half of the bytes or of the places."""
        places = sum(upload.client == client for upload in self._reading)
        return 2 * self._held.get(client, 0) > self._most_bytes or 2 * places > self._places

    def _end_slow(self) -> bool:
        """Ends a slow one, about the slowest. False when there is none."""
        now = self._now()
        while True:
            while self._slow:
                upload = self._slow.pop()
                if upload in self._reading and upload.rate(now, RECENT_LOOKS) < SLOW_RATE:
                    self._end(upload, "others wait")
                    return True
            self._slow = slow_ones(self._reading, now, at_least_seconds=NEW_SECONDS)
            if not self._slow:
                return False

    def _end_slowest(self, uploads: Iterable[Upload], client: str, at_least_seconds: float, because: str) -> bool:
        found = self._slowest(uploads, client, at_least_seconds)
        if found is not None:
            self._end(found, because)
        return found is not None

    def _end(self, upload: Upload, because: str) -> None:
        """Ends an upload: its task notices at the next turn of the loop; its place and bytes are free now."""
        upload.because = f"cannot read the upload: {because}"
        self._reading.discard(upload)
        self._release(upload)
        if upload.limit is not None:
            upload.limit.reschedule(0.0)
