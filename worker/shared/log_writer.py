"""One thread that does all work on log files, in the order of the requests.

A part that logs puts a line into a bounded queue and never waits: a disk that does not answer delays only this thread.
Lines without room are counted, and reported at their place among the lines as soon as the disk answers again. It must
not poll: with nothing to write the thread sleeps. Invariants: accepted lines are written in order. A crash loses at
most what was queued. At the end no caller waits longer than the given time.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import Final

from .started import start_thread

MOST_BYTES: Final = 4 << 20
LINE_COST: Final = 200
"""The memory of a queued line besides its bytes."""
MOST_JOBS: Final = 100
END_SECONDS: Final = 2.0

Write = Callable[[bytes], object]
Job = Callable[[], object]


class LogWriter:
    """See the module. What `write` or a job raises goes to standard error.

    `missed` is called on the thread, with the number of lines without room and the seconds for which the disk did not
    answer. `lost` is the total number of lines without room.
    """

    def __init__(self, missed: Callable[[int, float], object], *, most_bytes: int = MOST_BYTES) -> None:
        self._missed, self._most_bytes = missed, most_bytes
        self._queue: SimpleQueue[tuple[Write, bytes, int]] = SimpleQueue()
        self._lock = threading.Lock()
        self._bytes = self._jobs = self._untold = 0
        self._began: float | None = None
        self.lost = 0
        start_thread("logs", self._run)

    def put(self, write: Write, line: bytes) -> bool:
        """Has `write` called with `line` soon; False, and counted, when too much is queued. From any thread."""
        cost = len(line) + LINE_COST
        with self._lock:  # also keeps the order of lines that threads write at once
            if self._bytes + cost > self._most_bytes:
                self._untold += 1
                self.lost += 1
                return False
            self._bytes += cost
            self._queue.put((write, line, cost))
        return True

    def do(self, job: Job) -> bool:
        """Has `job` run in its turn among the lines; False when MOST_JOBS wait already. From any thread."""
        with self._lock:
            if self._jobs >= MOST_JOBS:
                return False
            self._line_up(job)
        return True

    def _line_up(self, job: Job) -> None:
        self._jobs += 1
        self._queue.put((lambda _: job(), b"", 0))

    @property
    def stuck_seconds(self) -> float:
        """For how long the thread has been busy with its current work; 0 when it has none."""
        began = self._began
        return 0.0 if began is None else time.monotonic() - began

    def flush(self, seconds: float = END_SECONDS) -> bool:
        """Returns when all that is queued now is done, or after `seconds`: then False."""
        done = threading.Event()
        return self.do(done.set) and done.wait(seconds)

    def _run(self) -> None:
        while True:
            write, line, cost = self._queue.get()
            self._began = began = time.monotonic()
            try:
                write(line)
            except Exception:  # noqa: BLE001 - the top of a thread, which must go on; no log takes what is wrong with it
                traceback.print_exc()
            self._began = None
            self._done(cost, time.monotonic() - began)

    def _done(self, cost: int, seconds: float) -> None:
        with self._lock:
            if cost:
                self._bytes -= cost
            else:
                self._jobs -= 1
            if self._untold:  # at the end of what is queued: the dropped lines came after that
                count, self._untold = self._untold, 0
                self._line_up(partial(self._missed, count, seconds))
