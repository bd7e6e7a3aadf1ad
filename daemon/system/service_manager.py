"""Decides what the service manager receives, and when: ready once, the status at each change, watchdog signals while
all is well.

It decides nothing about the service. Without a manager it sends nothing. Invariant: RELOADING is always followed by
READY, whatever the result of the reload, because a manager waits for it.
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
"""The time that a start gets each time it reports progress."""


class ServiceManager:
    """See the module. `environ` holds the variables that systemd set."""

    def __init__(self, environ: Mapping[str, str], clock: Clock) -> None:
        self._environ, self._clock = environ, clock
        self._log = structlog.get_logger("manager")
        self._period = systemd.watchdog_seconds(environ, os.getpid())
        self.stopping = self._ready = False
        self._status = ""

    def report(self, sentence: str, *, ready: bool, busy: bool) -> None:
        """Reports the state. `ready` counts the first time only; `busy` asks for more time until then."""
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
        """Reports that a reload begins."""
        if self._ready and not self.stopping:
            now = int(self._clock.monotonic() * 1e6)  # Type=notify-reload requires the time of the message
            systemd.notify(self._environ, "RELOADING=1", f"MONOTONIC_USEC={now}", systemd.status("reloading"))

    def reloaded(self, sentence: str) -> None:
        """Reports that a reload ended, whether it was taken up or refused."""
        if self._ready and not self.stopping:
            self._status = sentence
            systemd.notify(self._environ, "READY=1", systemd.status(sentence))

    def stop(self, sentence: str, seconds: float) -> None:
        """Reports that the end begins and takes up to `seconds`. After that only watchdog signals are sent."""
        self.stopping = True
        systemd.notify(self._environ, "STOPPING=1", systemd.extend_timeout(seconds), systemd.status(sentence))

    async def keep_alive(self, wrong: Callable[[], Awaitable[str]]) -> None:
        """Sends watchdog signals as long as `wrong` returns "". It is called before each one. Ends at once without a
        watchdog.
        """
        if self._period is None:
            return
        logged = ""
        while True:
            because = await wrong()
            if not because:
                systemd.notify(self._environ, "WATCHDOG=1")
            elif because != logged:
                self._log.error("cannot send the watchdog its signal", because=because)
            logged = because
            await asyncio.sleep(self._period / SIGNS_A_PERIOD)
