"""Records which parts of the daemon fail now, each with its reason, from their exceptions of any type.

It logs each failure, and decides how long a part waits before the next try. It starts nothing and stops nothing.
Invariant: recording a failure raises nothing, whatever the exception is.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from math import inf
from typing import Final

import structlog
from msgspec import Struct

from .clock import Clock

PAUSES_SECONDS: Final = (1.0, 2.0, 5.0, 10.0, 15.0)
"""The pause before a failed part is tried again; the last one holds for every further failure in a row."""
SHOWN_SECONDS: Final = 60.0
"""How long a failure counts if nothing shows its end: of a callback, or of a task that is not started again."""
LOG_SECONDS: Final = 1.0
"""The time between two log lines about the same part."""
MAX_PARTS: Final = 100
MAX_REASON: Final = 300


class Failure(Struct):
    """A failure of one part. `since` and `until` are monotonic seconds; `until` is when it ends by itself.

    `over`: the part works again. `reported`: an alert shows it.
    """

    part: str
    because: str
    since: float
    until: float = inf
    count: int = 1
    logged: float = -inf
    over: bool = False
    reported: bool = False


class Failures:
    """See the module. `happened` is called when a part begins to fail, and when it works again.

    `shown_seconds`: see SHOWN_SECONDS.
    """

    def __init__(
        self, clock: Clock, happened: Callable[[], None] = lambda: None, shown_seconds: float = SHOWN_SECONDS
    ) -> None:
        self._clock, self._happened, self.shown_seconds = clock, happened, shown_seconds
        self._log = structlog.get_logger("failures")
        self._failures: dict[str, Failure] = {}

    def failed(self, part: str, error: BaseException, *, lasts_seconds: float = inf) -> float:
        """Records that `part` failed and returns the seconds until it may be tried again.

        The failure counts until `works` is called, or until `lasts_seconds` after that pause.
        """
        now, because = self._clock.monotonic(), sentence(error)
        known = self._prune(now).get(part)
        failure = known or Failure(part, because, now, count=0)
        pause = PAUSES_SECONDS[min(failure.count, len(PAUSES_SECONDS) - 1)]
        failure.because, failure.until, failure.count = because, now + pause + lasts_seconds, failure.count + 1
        failure.over = False
        if now - failure.logged >= LOG_SECONDS:
            failure.logged = now
            with suppress(Exception):  # out of memory, or a traceback that cannot be formatted
                self._log.error("a part of the daemon failed", controller=part, because=because, exc_info=error)
        if known is None and len(self._failures) < MAX_PARTS:
            self._failures[part] = failure
            self._happened()
        return pause

    def works(self, part: str) -> None:
        """Records that the part works again. Its failure is kept until it has been reported once."""
        failure = self._failures.get(part)
        if failure is None or failure.over:
            return
        failure.over, failure.until = True, self._clock.monotonic() + self.shown_seconds
        self._log.info("a part of the daemon works again", controller=part, failures=failure.count)
        if failure.reported:
            del self._failures[part]
        self._happened()

    def report(self) -> tuple[Failure, ...]:
        """The current failures, and those since the last report, for alerts."""
        found = tuple(self._prune(self._clock.monotonic()).values())
        for failure in found:
            failure.reported = True
            if failure.over:
                del self._failures[failure.part]
        if any(failure.over for failure in found):
            self._happened()  # the next report ends their alerts
        return found

    def failing(self, part: str) -> bool:
        """Whether it fails now. From any thread."""
        failure = self._failures.get(part)
        return failure is not None and not failure.over

    def current(self) -> tuple[Failure, ...]:
        """The current failures."""
        return tuple(f for f in self._prune(self._clock.monotonic()).values() if not f.over)

    def next_due(self) -> float | None:
        """When a failure ends by itself, monotonic seconds."""
        return min((f.until for f in self._failures.values() if f.until < inf), default=None)

    def _prune(self, now: float) -> dict[str, Failure]:
        for part in [part for part, failure in self._failures.items() if failure.until <= now]:
            del self._failures[part]
        return self._failures


def sentence(error: BaseException) -> str:
    """An exception in one line: its type and its text."""
    try:
        text = " ".join(str(error).split())
    except Exception:  # noqa: BLE001 - the text of an exception is made by code of its own class
        text = ""
    name = type(error).__name__
    return f"{name}: {text}"[:MAX_REASON] if text else name
