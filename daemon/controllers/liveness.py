"""Checks the daemon itself: whether it works, and whether its workers answer; reports both to the
service manager.

The daemon works while rounds end, no controller fails for long, a check between two rounds ends, and both control
sockets answer a connection. It repairs nothing: the rounds and the watchdog do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, Protocol

from ..status.readiness import is_busy, may_answer
from ..status.snapshot import Snapshot
from ..system.background import here
from ..system.clock import Clock
from ..system.service_manager import ServiceManager
from .wakeups import Wakeups

ROUND_SECONDS: Final = 120.0
"""A round that takes longer counts as hanging, and so does a check between two rounds."""
PROBE_SECONDS: Final = 3.0
CONFIRM_SECONDS: Final = 15.0
"""How long after the start a worker of a former daemon may run with settings that it has not confirmed."""


class RunningCheck(Protocol):
    """A part that checks between two rounds. `began` is when its running check began, monotonic seconds;
    None for none.
    """

    began: float | None


class Probed(Protocol):
    """A control socket."""

    async def answers(self, seconds: float) -> bool: ...


class Liveness:
    """`failing` names a controller that has failed for long; `sockets` are connected to, by their names.

    `unconfirmed` returns the workers that may still use former settings; `sentence` describes the daemon.
    """

    def __init__(
        self,
        clock: Clock,
        service_manager: ServiceManager,
        *,
        snapshot: Callable[[], Snapshot],
        wakeups: Wakeups,
        idle_check: RunningCheck,
        failing: Callable[[], str],
        sockets: Mapping[str, Probed],
        unconfirmed: Callable[[], list[str]],
        sentence: Callable[[], str],
    ) -> None:
        self._clock, self._service_manager, self._snapshot = clock, service_manager, snapshot
        self._wakeups, self._idle_check, self._failing, self._sockets = wakeups, idle_check, failing, sockets
        self._unconfirmed, self._sentence = unconfirmed, sentence
        self._began = clock.monotonic()
        self._watchdog: asyncio.Task[None] | None = None

    def start(self) -> None:
        """To be called when the sockets are open. Does nothing when it has begun."""
        if self._watchdog is None:
            keep_alive = partial(self._service_manager.keep_alive, self.wrong)
            self._watchdog = here().start("watchdog", keep_alive, restart=True)

    async def stop(self) -> None:
        if self._watchdog is not None:
            self._watchdog.cancel()
            await asyncio.wait({self._watchdog}, timeout=1.0)

    async def wrong(self) -> str:
        """Why this daemon does not work; "" when it does."""
        now = self._clock.monotonic()
        if self._service_manager.stopping:
            return ""  # the sockets close now; the service manager has a limit of its own for the end
        for what, began in (("a round", self._wakeups.began), ("a look at the model root", self._idle_check.began)):
            if began is not None and now - began > ROUND_SECONDS:
                return f"{what} has taken more than {ROUND_SECONDS:g} s"
        if because := self._failing():
            return because
        for name, server in self._sockets.items():
            if not await server.answers(PROBE_SECONDS):
                return f"{name} does not answer"
        return ""

    def report(self) -> None:
        """Reports a sentence to the service manager; ready once workers answer, or when there is nothing to serve."""
        seen = self._snapshot()
        busy = is_busy(seen, began=self._began)
        early = seen.now - self._began < CONFIRM_SECONDS
        ready = may_answer(seen, busy=busy) and not (early and self._unconfirmed())
        self._service_manager.report(self._sentence(), ready=ready, busy=busy)
