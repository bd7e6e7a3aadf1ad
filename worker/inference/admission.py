"""Admits requests and runs models off the event loop, in order of arrival, piece by piece, as many at once as there are
slots.

A request has one job in the queue at any time. A clip of many pieces queues again for each piece, in the queue of long
clips, which short clips overtake. Invariant: the number of admitted requests and the bytes of decoded audio are
bounded.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from functools import partial
from typing import Any, Final, ParamSpec, TypeVar

from ..audio.converter import SAMPLE_RATE, check_form
from ..audio.decode import Sound, decode_wav, plain
from ..audio.wav import Wav
from ..decoders.pool import DecoderPool
from ..scheduling.audio_budget import Crowded, Hold
from ..scheduling.cpu_load import free_processors
from ..scheduling.model_runs import (
    LONG_NICENESS,
    SLOW_SECONDS,
    Run,
    Runs,
)
from ..scheduling.overdue import Overdue
from ..scheduling.pauses import Pauses
from ..scheduling.slots import Slots
from ..scheduling.threads import Lanes

P = ParamSpec("P")
T = TypeVar("T")
SAMPLE_BYTES: Final = 4
SHORT_SECONDS: Final = 60.0
"""A clip up to this length is decoded however much is held."""

EXPECTING: Final = 256
"""Requests that wait for a model that is on its way."""


class Busy(Exception):
    """There is no room now; the text names the limit. The client may come again in a second."""


class Stopped(Exception):
    """The result of this job is not awaited any more."""


class Work:
    """The threads of one worker. All methods belong to the event loop; the given functions run in threads.

    `queue`: requests that may wait besides the one in work. `audio_bytes`: with more decoded samples of long clips than
    this no further one is decoded. `slots`: for running the model, for decoding and for pieces of long clips, shared
    with other workers or not. `decoders`: the directory with the names of shared decoders, "" for none. `ran` is called
    for each inference that ended. `free_processors` returns how many threads would have a processor each. A job that
    runs longer than `limit_seconds` (0: none) is stuck, and `noticed` is called then. A run longer than `slow_seconds`
    may delay others, and `slowed` is called then.
    """

    def __init__(
        self,
        *,
        queue: int,
        audio_bytes: int,
        slots: tuple[Slots, Slots, Slots] | None = None,
        decoders: str = "",
        clip_bytes: int = 64 << 20,
        report: Callable[[str], None] = lambda text: None,
        ran: Callable[[Run], None] = lambda run: None,
        free_processors: Callable[[], int] = free_processors,
        limit_seconds: float = 0.0,
        slow_seconds: float = SLOW_SECONDS,
        noticed: Callable[[], None] = lambda: None,
        slowed: Callable[[], None] = lambda: None,
    ) -> None:
        self.load = 0
        self.running: set[asyncio.Task[Any]] = set()
        self._queue = queue
        self._expecting = 0
        self._hold = Hold(audio_bytes, max(1, queue // 2))
        short_slots, self._decoders, long_slots = slots or (Slots(), Slots(), Slots())
        sort = partial(
            Runs,
            ran=ran,
            free_processors=free_processors,
            limit_seconds=limit_seconds,
            slow_seconds=slow_seconds,
            noticed=noticed,
            slowed=slowed,
        )
        self._short, self._long = sort("inference", short_slots), sort("long", long_slots, niceness=LONG_NICENESS)
        # On threads of its own, so that decoding an hour of audio does not delay every inference.
        self._decoding, self._cutting = Lanes("decoding"), Lanes("cutting")
        self._cutting_long = Lanes("cutting long", LONG_NICENESS)
        self._stuck_decoding = Overdue(limit_seconds, noticed)
        self._one_long = asyncio.Lock()
        self._pool = DecoderPool(decoders, self._decoders, self._decoding, most_bytes=clip_bytes, report=report)

    def limit(self, *, queue: int, audio_bytes: int, clip_bytes: int, limit_seconds: float) -> None:
        """Sets other limits for new requests."""
        self._queue = queue
        self._hold.limit(audio_bytes, max(1, queue // 2))
        self._pool.limit(clip_bytes)
        for jobs in (self._short, self._long, self._stuck_decoding):
            jobs.limit(limit_seconds)

    @property
    def stuck(self) -> int:
        """Jobs that no limit could end."""
        return self._short.stuck + self._long.stuck + self._stuck_decoding.count

    @property
    def runs(self) -> int:
        """Runs of the model in progress."""
        return self._short.slots.running + self._long.slots.running

    @property
    def waiting(self) -> int:
        """Runs of the model that wait for a slot."""
        return self._short.slots.waiting + self._long.slots.waiting

    def jammed(self) -> str:
        """Why no request can be answered soon: jobs that do not end hold every slot; "" when one can."""
        if because := self._short.jammed():
            return because
        if self._decoders.jammed(self._stuck_decoding.count):
            return "every slot for decoding is held by a job that does not end"
        return ""

    def check(self) -> None:
        """Raises Busy when a new request could not be admitted."""
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
        """Counts a request that waits for a model that is on its way. Raises Busy when too many do."""
        if self._expecting >= EXPECTING:
            raise Busy(f"cannot take the request: {self._expecting} wait for a model already")
        self._expecting += 1
        try:
            yield
        finally:
            self._expecting -= 1

    def give_up(self) -> None:
        """Ends everything in `running`: the worker leaves and cannot wait any longer."""
        for task in tuple(self.running):
            task.cancel()

    async def infer(
        self,
        job: Callable[[int], T],
        lone_threads: Callable[[], int] = lambda: 1,
        *,
        long: bool = False,
        later_seconds: float = 0.0,
    ) -> T:
        """Like `Runs.run`, with slots of their own for pieces of `long` clips."""
        return await (self._long if long else self._short).run(job, lone_threads, later_seconds=later_seconds)

    async def decode(self, job: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs a decoding job the same way, beside inference."""
        return await self._decode(await self._decoders.turn(), partial(job, *args, **kwargs))

    @asynccontextmanager
    async def decoded(
        self,
        data: bytearray,
        *,
        max_seconds: float,
        client: str = "",
        counted: bool = True,
        declared: str = "",
        split: bool = False,
    ) -> AsyncIterator[Sound]:
        """The sound of an audio file, which is emptied; counted as held to the end. Raises BadAudio, CannotDecode,
        Busy.

        Without `counted` it takes no room from requests: there is one such clip at a time. `declared` is its
        Content-Type, for sound without a header; with `split` all channels are kept. When cancelled, it finishes only
        the current step.
        """
        with self._hold.share(client) as share:

            async def claim(seconds: float) -> None:
                if counted and seconds > SHORT_SECONDS:
                    try:
                        await self._hold.claim(share, int(seconds * SAMPLE_RATE) * SAMPLE_BYTES)
                    except Crowded as e:
                        raise Busy(f"cannot take the clip: {e}") from e

            header = plain(data, declared)
            if header is None:
                sound = await self._pool.decode(data, max_seconds=max_seconds, claim=claim, split=split)
            else:
                check_form(header.rate, header.channels, split=split)  # room is requested by their declared length
                seconds = min(header.frames / header.rate, max_seconds) * (header.channels if split else 1)
                await claim(seconds)
                read = partial(_read_wav, data, header, max_seconds, split)
                sound = await self.stoppable(read, long=seconds > SHORT_SECONDS)
            if share.held:
                self._hold.settle(share, sound.samples.nbytes)
            yield sound

    async def stoppable(self, job: Callable[[Callable[[], None]], T], *, long: bool = False) -> T:
        """Runs `job` like `decode`, a `long` one like `beside`.

        The job gets a function that raises Stopped when the result is not awaited any more, and makes a long job give
        way to others.
        """
        stopped = threading.Event()
        pauses = Pauses() if long else None

        def go_on() -> None:
            if stopped.is_set():
                raise Stopped
            if pauses is not None:
                pauses()

        try:
            return await (self.beside(partial(job, go_on), long=True) if long else self.decode(job, go_on))
        finally:
            stopped.set()

    async def beside(self, job: Callable[[], T], *, long: bool) -> T:
        """Runs what is too long for the event loop but needs no slot; `long` jobs one after the other."""
        async with self._one_long if long else nullcontext():
            return await (self._cutting_long if long else self._cutting).start(job, lambda: None)

    @asynccontextmanager
    async def reserved(self, amount: int) -> AsyncIterator[Callable[[int], None]]:
        """Waits until so many bytes may be held besides audio, and counts them to the end.

        It yields a function that must be called with the real number of bytes.
        """
        with self._hold.share("") as share:
            await self._hold.claim(share, amount)
            yield partial(self._hold.settle, share)

    def _decode(self, slot: int, job: Callable[[], T]) -> asyncio.Future[T]:
        ended = self._stuck_decoding.begun()

        def over() -> None:
            ended()
            self._decoders.free(slot)

        return self._decoding.start(job, over)

    def close(self) -> None:
        """Stops using what workers share."""
        self._pool.close()
        for slots in (self._short.slots, self._long.slots, self._decoders):
            slots.close()


def _read_wav(data: bytearray, header: Wav, max_seconds: float, split: bool, go_on: Callable[[], None]) -> Sound:
    return decode_wav(data, header, max_seconds=max_seconds, go_on=go_on, split=split)
