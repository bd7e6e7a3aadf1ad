"""Runs of the model of one kind: the slots that they wait for, their threads, and runs that do not end.

Short clips and pieces of long ones are two kinds, each with as many slots as there are workers. A piece of a long clip
takes the model for a second, and no short clip should wait for that. Threads for long pieces have a lower priority, so
that a short run beside them has most of a processor. It does not decide which requests are admitted. Invariant: the end
of each run is reported once.
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
"""The same as that of a load beside requests (see `engine`): with more, a thread that has the interpreter's lock
starves.
"""


SLOW_SECONDS: Final = 20.0
"""A run may take this long, unless others took longer lately. With a beat of the worker this gives an alert within 30
s.
"""
USUAL: Final = 2.0
"""A run may take this many times as long as the longest recent one, if that is more."""
LATE: Final = 32


class Run(Struct, eq=False):
    """One run of the model. Times are seconds of the machine's monotonic clock, the same for all processes.

    It holds when the run was requested, when it began and when it ended. `request` is the name of the task that
    requested it, `slot` is -1 without a shared slot. `threads` above 1 means that it had the machine alone.
    """

    request: str
    slot: int
    asked: float
    threads: int = 1
    began: float = 0.0
    ended: float = 0.0


class Runs:
    """All methods belong to the event loop; the given functions run in threads, at this `niceness`.

    `ran` is called at the end of each run; `free_processors` returns how many threads would have a processor each. A
    run longer than `limit_seconds` (0: none) is stuck, and `noticed` is called. One longer than `slow_seconds` and
    longer than usual is slow, and `slowed` is called.
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
        """Sets another limit, for runs that start from now on."""
        self._stuck.limit(limit_seconds)

    def jammed(self) -> str:
        """Why a request would wait for long or for ever, because all slots are held; "" when it would not."""
        if self.slots.jammed(self.stuck):
            return "every slot is held by a run of the model that does not end"
        # Long runs do not count when no request waits for them or beside them.
        if self._asked > self._started and self.slots.jammed(self._slow.count):
            return f"every slot is held by a run of the model that takes more than {self._slow_seconds:g} s"
        return ""

    async def run(self, job: Callable[[int], T], lone_threads: Callable[[], int], *, later_seconds: float = 0.0) -> T:
        """Runs `job` with a number of threads when its turn comes.

        That number is `lone_threads()` when no other work has a slot and the machine has processors to spare, 1
        otherwise. If it is cancelled before its turn, it never runs; after that, its result is dropped. It gives way to
        requests that come up to `later_seconds` after it.
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
