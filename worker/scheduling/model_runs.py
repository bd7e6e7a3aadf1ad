"""Runs of the model of one sort: the slots they wait for, the threads they run in, and those that go on and on.

Short clips and pieces of long ones are two sorts, each with as many slots as there are workers: a piece of a long clip
takes the model for a second, which no short clip is to wait for. Its thread is nicer, so that a short run beside it
has most of a processor. Must not decide who is let in. Invariant: that a run ended is said once.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final, TypeVar

from msgspec import Struct

from .overdue import Overdue
from .slots import NO_SLOT, Slots
from .threads import Lanes

T = TypeVar("T")

LONG_NICENESS: Final = 5
"""As that of a load beside requests (see `engine`): with more, a thread that has the interpreter's lock starves."""


SLOW_SECONDS: Final = 20.0
"""So long a run may take unless others of late took longer: with a beat of the worker it is an alert within 30 s."""
USUAL: Final = 2.0
"""Times the longest of late, that a run may take where that is more."""
LATE: Final = 32


class Run(Struct, eq=False):
    """One job of inference: when it was asked for, when the model began and ended, seconds of the machine's monotonic
    clock (the same for all processes). `request` is the name of the task that asked, `slot` -1 for none shared;
    `threads` above 1 say that it had the machine to itself."""

    request: str
    slot: int
    asked: float
    threads: int = 1
    began: float = 0.0
    ended: float = 0.0


class Runs:
    """All methods belong to the event loop; the functions given run in threads, at this `niceness`.

    `ran` hears of each that ended; `free_processors` says how many threads would have a processor each. A run longer
    than `limit_seconds` (0: none) is stuck, one longer than `slow_seconds` and than is usual is slow; `noticed` and
    `slowed` are called then.
    """

    def __init__(
        self,
        name: str,
        slots: Slots,
        *,
        niceness: int = 0,
        ran: Callable[[Run], None],
        free_processors: Callable[[], int],
        limit_seconds: float,
        slow_seconds: float,
        noticed: Callable[[], None],
        slowed: Callable[[], None],
    ) -> None:
        self.slots, self._lanes, self._stuck = slots, Lanes(name, niceness), Overdue(limit_seconds, noticed)
        self._slow, self._slow_seconds = Overdue(slow_seconds, slowed), slow_seconds
        self._took: deque[float] = deque(maxlen=LATE)
        self._asked = self._started = 0.0
        self._ran, self._free_processors = ran, free_processors

    @property
    def stuck(self) -> int:
        """Runs that no limit could end."""
        return self._stuck.count

    def limit(self, limit_seconds: float) -> None:
        """Another limit, for runs that start from now on."""
        self._stuck.limit(limit_seconds)

    def jammed(self) -> str:
        """Why a request would wait for long or for ever, as all slots are held; "" when it would not."""
        if self.slots.jammed(self.stuck):
            return "every slot is held by a run of the model that does not end"
        # Long runs that nobody waits for, nor asked beside, are no matter.
        if self._asked > self._started and self.slots.jammed(self._slow.count):
            return f"every slot is held by a run of the model that goes on for more than {self._slow_seconds:g} s"
        return ""

    async def run(self, job: Callable[[int], T], lone_threads: Callable[[], int], *, later_seconds: float = 0.0) -> T:
        """Runs `job` with a number of threads when its turn comes: `lone_threads()` where nobody else has the slots for
        them and the machine has room, 1 otherwise.

        Cancelled before its turn, it never runs; after it, its result is dropped. It gives way to what is asked for up
        to `later_seconds` after it.
        """
        task = asyncio.current_task()
        run = Run(task.get_name() if task else "", NO_SLOT, time.monotonic())
        self._asked = run.asked
        run.slot = await self.slots.turn(later_seconds=later_seconds)
        self._started = time.monotonic()
        reach = self.slots.reach

        def timed() -> T:
            most = min(reach, self._free_processors()) if reach > 1 else 1
            threads = lone_threads() if most > 1 else 1
            run.threads = threads if threads <= most else 1
            run.began = time.monotonic()
            try:
                result = job(run.threads)
                self._took.append(time.monotonic() - run.began)  # not of one that was ended
                return result
            finally:
                run.ended = time.monotonic()

        return await self._lanes.start(timed, partial(self._over, run, self._stuck.begun(), self._slow.begun()))

    def _over(self, run: Run, *ended: Callable[[], None]) -> None:
        for end in ended:
            end()
        self._slow.limit(max(self._slow_seconds, USUAL * max(self._took, default=0.0)))
        self.slots.free(run.slot)
        self._ran(run)
