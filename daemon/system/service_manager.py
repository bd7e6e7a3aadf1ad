"""What the service manager is told, and when: ready once, a status when it changes, signs of life while all is well.

It decides nothing about the service. Without a manager nothing is sent. Invariant: RELOADING is always followed by
READY, whatever came of the reload, because a manager waits for it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping

import structlog

from . import systemd
from .clock import Clock

SIGNS_A_PERIOD = 3
STARTING_SECONDS = 60.0
"""What a start that makes progress is granted each time it is said."""


class ServiceManager:
    """`environ` is where systemd speaks."""

    def __init__(self, environ: Mapping[str, str], clock: Clock) -> None:
        self._environ, self._clock = environ, clock
        self._log = structlog.get_logger("manager")
        self._period = systemd.watchdog_seconds(environ, os.getpid())
        self.stopping = self._ready = False
        self._status = ""

    def tell(self, sentence: str, *, ready: bool, busy: bool) -> None:
        """How things are. `ready` counts the first time; until then `busy` says that time is being made use of."""
        if self.stopping:
            return
        news = []
        if ready and not self._ready:
            self._ready = True
            news.append("READY=1")
        elif busy and not self._ready:
            news.append(systemd.extend_timeout(STARTING_SECONDS))
        if sentence != self._status:
            self._status = sentence
            news.append(systemd.status(sentence))
        if news:
            systemd.notify(self._environ, *news)

    def reloading(self) -> None:
        """A reload begins."""
        if self._ready and not self.stopping:
            now = int(self._clock.monotonic() * 1e6)  # Type=notify-reload takes it only with the time it was said at
            systemd.notify(self._environ, "RELOADING=1", f"MONOTONIC_USEC={now}", systemd.status("reloading"))

    def reloaded(self, sentence: str) -> None:
        """It ended, taken up or refused."""
        if self._ready and not self.stopping:
            self._status = sentence
            systemd.notify(self._environ, "READY=1", systemd.status(sentence))

    def stop(self, sentence: str, seconds: float) -> None:
        """The end begins and takes up to `seconds`. Nothing but signs of life is said afterwards."""
        self.stopping = True
        systemd.notify(self._environ, "STOPPING=1", systemd.extend_timeout(seconds), systemd.status(sentence))

    async def keep_alive(self, wrong: Callable[[], Awaitable[str]]) -> None:
        """Gives signs of life for as long as `wrong` says "", asked anew each time. Ends at once without a watchdog."""
        if self._period is None:
            return
        said = ""
        while True:
            because = await wrong()
            if not because:
                systemd.notify(self._environ, "WATCHDOG=1")
            elif because != said:
                self._log.error("cannot tell the watchdog that all is well", because=because)
            said = because
            await asyncio.sleep(self._period / SIGNS_A_PERIOD)
