"""Runs models off the event loop, first come first served piece by piece, as many at once as there are slots for.

A request has one job in the line at any time; a clip of many pieces queues anew for each, so short requests pass
between them. Decides who is let in. Invariant: requests admitted and bytes of decoded audio are bounded.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, ParamSpec, TypeVar

from .idle import free_processors
from .lanes import Lanes
from .slots import NO_SLOT, Slots

P = ParamSpec("P")
T = TypeVar("T")


EXPECTING: Final = 256
"""Requests that wait for a model that is on its way."""


class Busy(Exception):
    """No room now; the text says which limit. The client may come again in a second."""


@dataclass(eq=False)
class Run:
    """One job of inference: when it was asked for, when the model began and ended, seconds of the machine's monotonic
    clock (the same for all processes). `request` is the name of the task that asked, `slot` -1 for none shared;
    `threads` above 1 say that it had the machine to itself."""

    request: str
    slot: int
    asked: float
    threads: int = 1
    began: float = 0.0
    ended: float = 0.0


class Work:
    """The lanes of one worker. All methods belong to the event loop; the functions given run in threads.

    `queue`: requests that may wait besides the one in work. `audio_bytes`: decoded samples above which no further clip
    is decoded. `slots`: for running the model and for decoding, shared with other workers or not. `ran` hears of each
    inference that ended; `free_processors` says how many threads would have a processor each.
    """

    def __init__(
        self,
        *,
        queue: int,
        audio_bytes: int,
        slots: tuple[Slots, Slots] | None = None,
        ran: Callable[[Run], None] = lambda run: None,
        free_processors: Callable[[], int] = free_processors,
    ) -> None:
        self.load = 0
        self.running: set[asyncio.Task[Any]] = set()
        self._queue = queue
        self._audio_bytes, self._held = audio_bytes, 0
        self._expecting = 0
        self._less = asyncio.Event()
        self.slots, self._decoders = slots or (Slots(), Slots())
        self._ran, self._free_processors = ran, free_processors
        # Beside one another, so that decoding an hour of audio does not stand before everybody's inference.
        self._inference, self._decoding = Lanes("inference"), Lanes("decoding")

    def check(self) -> None:
        """Raises Busy when a request that comes now could not be admitted."""
        if self.load > self._queue:
            raise Busy(f"cannot take the request: {self._queue} are waiting already")

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """One of the queue's places. Raises Busy when there is none."""
        self.check()
        self.load += 1
        try:
            yield
        finally:
            self.load -= 1

    @contextmanager
    def expecting(self) -> Iterator[None]:
        """A request that waits for a model that is on its way. Raises Busy when too many do."""
        if self._expecting >= EXPECTING:
            raise Busy(f"cannot take the request: {self._expecting} wait for a model already")
        self._expecting += 1
        try:
            yield
        finally:
            self._expecting -= 1

    @contextmanager
    def holding(self, audio_bytes: int) -> Iterator[None]:
        """Counts decoded audio while it is held."""
        self._held += audio_bytes
        try:
            yield
        finally:
            self._held -= audio_bytes
            self._less.set()

    def give_up(self) -> None:
        """Ends everything in `running`: the worker leaves and can't wait any longer."""
        for task in tuple(self.running):
            task.cancel()

    async def infer(self, job: Callable[[int], T], lone_threads: Callable[[], int] = lambda: 1) -> T:
        """Runs `job` with a number of threads when its turn comes.

        That is `lone_threads()` where nobody else has the slots for them and the machine has room, 1 otherwise.
        Cancelled before its turn, it never runs; after it, its result is dropped.
        """
        task = asyncio.current_task()
        run = Run(task.get_name() if task else "", NO_SLOT, time.monotonic())
        run.slot = await self.slots.turn()
        reach = self.slots.reach

        def timed() -> T:
            most = min(reach, self._free_processors()) if reach > 1 else 1
            threads = lone_threads() if most > 1 else 1
            run.threads = threads if threads <= most else 1
            run.began = time.monotonic()
            try:
                return job(run.threads)
            finally:
                run.ended = time.monotonic()

        return await self._inference.start(timed, partial(self._over, run))

    def _over(self, run: Run) -> None:
        self.slots.free(run.slot)
        self._ran(run)

    async def decode(self, job: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The same beside inference."""
        return await self._decode(await self._decoders.turn(), partial(job, *args, **kwargs))

    async def decode_input(self, job: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Decodes what a client sent once there is space for it; the result is to be counted by `holding` at once."""
        while True:
            while self._held >= self._audio_bytes:
                self._less.clear()
                await self._less.wait()
            slot = await self._decoders.turn()
            if self._held < self._audio_bytes:  # asked again: all who waited for the space were told of it
                return await self._decode(slot, partial(job, *args, **kwargs))
            self._decoders.free(slot)

    def _decode(self, slot: int, job: Callable[[], T]) -> asyncio.Future[T]:
        return self._decoding.start(job, partial(self._decoders.free, slot))

    def close(self) -> None:
        """Takes no more part in what workers share."""
        self.slots.close()
        self._decoders.close()
