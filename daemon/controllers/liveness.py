"""Watches over the daemon itself: whether it is alive, and whether its workers answer; and tells the service manager.

Alive are the loop (which runs this), a round that ends, controllers that do not fail for long, a look between two
rounds that ends, and both control sockets, asked from the outside. It must not mend anything: that is the rounds' part,
and the watchdog's.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Protocol

from ..api.server import AdminServer
from ..config.load import Config
from ..models.lifecycle import VersionState
from ..system.background import here
from ..system.clock import Clock
from ..system.service_manager import ServiceManager
from ..workers.channel import WorkersSocket
from ..workers.registry import WorkerRegistry
from ..workers.settings_sync import SettingsSync
from .activation import Activation
from .admin_service import AdminService
from .round import Round
from .validation import Validation

ROUND_SECONDS = 120.0
"""A round that takes longer hangs, whatever it waits for; so does a look between two rounds."""
PROBE_SECONDS = 3.0
FIRST_LOOK_SECONDS = 10.0
"""How long after `models.settle` a version that was there at the start may still be on its way to its verdict."""


CONFIRM_SECONDS = 15.0
"""How long after the start a worker of a former daemon may run with settings that it has not confirmed."""


class Looks(Protocol):
    """What looks between two rounds: since when it does, monotonic seconds; None between looks."""

    began: float | None


class LivenessParts(Protocol):
    """The parts that are watched over."""

    config: Config
    clock: Clock
    registry: WorkerRegistry
    validation: Validation
    activation: Activation
    admin_service: AdminService
    manager: ServiceManager
    settings_sync: SettingsSync
    channel: WorkersSocket
    api: AdminServer
    round: Round

    @property
    def idle_check(self) -> Looks: ...


class Liveness:
    """One daemon's. `round_began` is when the round under way began, monotonic seconds; None between rounds."""

    def __init__(self, daemon: LivenessParts) -> None:
        self._s = daemon
        self._began = daemon.clock.monotonic()
        self.round_began: float | None = None
        self._heart: asyncio.Task[None] | None = None

    def start(self) -> None:
        """To be called when the sockets are open. Does nothing where it has begun."""
        if self._heart is None:
            self._heart = here().start("watchdog", partial(self._s.manager.keep_alive, self.wrong), restart=True)

    async def stop(self) -> None:
        if self._heart is not None:
            self._heart.cancel()
            await asyncio.wait({self._heart}, timeout=1.0)

    async def wrong(self) -> str:
        """What keeps this daemon from being called alive; "" for nothing."""
        s, now = self._s, self._s.clock.monotonic()
        if s.manager.stopping:
            return ""  # the sockets go now; the manager has a limit of its own for the end
        for what, began in (("a round", self.round_began), ("a look at the model root", s.idle_check.began)):
            if began is not None and now - began > ROUND_SECONDS:
                return f"{what} has taken more than {ROUND_SECONDS:g} s"
        if because := s.round.wrong():
            return because
        if not await s.channel.answers(PROBE_SECONDS):
            return "workers.sock does not answer"
        if not await s.api.answers(PROBE_SECONDS):
            return "api.sock does not answer"
        return ""

    def tell(self) -> None:
        """Says how things are; ready once workers answer, be it that there is nothing to serve."""
        s = self._s
        peers = s.registry.peers()
        busy = s.validation.busy or s.activation.busy or any(peer.loading for peer in peers) or self._undecided()
        answers = (s.admin_service.ready() or (bool(peers) and not busy)) and not self._unconfirmed()
        s.manager.tell(s.admin_service.sentence(), ready=answers, busy=busy)

    def _unconfirmed(self) -> bool:
        """Some worker that was there at the start may still answer by former settings, without a token for one."""
        early = self._s.clock.monotonic() - self._began < CONFIRM_SECONDS
        return early and bool(self._s.settings_sync.unconfirmed())

    def _undecided(self) -> bool:
        """A version that was there at the start is on its way to its verdict, and has not had the time for it."""
        if self._s.clock.monotonic() - self._began > self._s.config.models.settle + FIRST_LOOK_SECONDS:
            return False
        return any(e.state in (VersionState.SEEN, VersionState.SETTLING) for e in self._s.validation.catalog.entries())
