"""Ends the daemon's parts in order, each within its own limit.

A part that does not end in its time is left running; one that fails is logged and tried once more; the others end in
any case. Invariant: `together` returns within the longest limit of its steps, and raises no exception of theirs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from typing import Any, Final

import structlog
from msgspec import Struct

from ..api.events import Hub
from ..state.async_store import AsyncStore
from ..system.background import Background
from ..system.service_manager import ServiceManager
from ..workers.listen_socket import ListenSocket
from ..workers.pool import KILLED_SECONDS
from .round import Controller

ATTEMPTS: Final = 2
CLOSING_SECONDS: Final = 20.0
"""What the service manager gives the end besides draining."""
DRAIN_GRACE_SECONDS: Final = 2.0
"""What workers get beyond their time to drain, before they are killed."""
PART_SECONDS: Final = 3.0
"""What each part of the daemon gets to end."""


class Step(Struct, frozen=True):
    """`act` ends one part, within `seconds`."""

    name: str
    act: Callable[[], Coroutine[Any, Any, None]]
    seconds: float


async def together(background: Background, *steps: Step) -> None:
    """Runs these steps at the same time."""
    await asyncio.gather(*(_take(background, step) for step in steps))


async def _take(background: Background, step: Step) -> None:
    name, loop = f"{step.name}.stop", asyncio.get_running_loop()
    deadline = loop.time() + step.seconds
    for _ in range(ATTEMPTS):
        task = background.start(name, step.act)
        await asyncio.wait({task}, timeout=max(0.0, deadline - loop.time()))
        if not task.done():
            task.cancel()
            said, because = "cannot end a part of the daemon; it is left behind", f"no end within {step.seconds:g} s"
            structlog.get_logger("supervisor").error(said, controller=step.name, because=because)
            return
        if not background.failures.failing(name):
            return


class Shutdown:
    """The end of one daemon. `wake_sources` stop the threads that wake the loop."""

    def __init__(
        self,
        background: Background,
        controllers: Iterable[Controller],
        *,
        service_manager: ServiceManager,
        hub: Hub,
        listen_socket: ListenSocket,
        wake_sources: Iterable[Callable[[], None]],
        async_store: AsyncStore,
        stop_forwarding: Callable[[], Coroutine[Any, Any, None]],
    ) -> None:
        self._background, self._controllers = background, tuple(controllers)
        self._service_manager, self._hub, self._listen_socket = service_manager, hub, listen_socket
        self._wake_sources, self._async_store = tuple(wake_sources), async_store
        self._stop_forwarding = stop_forwarding

    async def run(self, drain: float | None) -> None:
        """Ends everything. The workers get `drain` seconds; with None they continue for the next daemon.

        The rollout ends first, so that it sends no more orders; sockets and state end late. The forwarding of logs ends
        last: what the others log at their end is forwarded too.
        """
        said = "draining" if drain is not None else "leaving the workers to the next daemon"
        call, drain_seconds = self._background.call, drain or 0.0
        call("service-manager", partial(self._service_manager.stop, said, drain_seconds + CLOSING_SECONDS), None)
        call("events", self._hub.close, None)
        limits = {"activation": 1.0, "pool": drain_seconds + DRAIN_GRACE_SECONDS + KILLED_SECONDS + 0.5}
        steps = {c.name: Step(c.name, c.stop, limits.get(c.name, PART_SECONDS)) for c in self._controllers}
        last = [steps.pop(name) for name in ("sockets", "panel", "service-manager")]
        await together(self._background, steps.pop("activation"))
        call("listening socket", self._listen_socket.close, None)
        await together(self._background, Step("wake-ups", self._no_wake_ups, PART_SECONDS), *steps.values())
        because = "told to stop" if drain is not None else "told to leave its workers"
        call("state", partial(self._async_store.note, "daemon-stopped", "", because), None)
        await together(self._background, Step("state", self._async_store.close, PART_SECONDS), *last)
        await together(self._background, Step("log-forwarding", self._stop_forwarding, PART_SECONDS))
        self._background.end()

    async def _no_wake_ups(self) -> None:
        await asyncio.gather(*(asyncio.to_thread(stop) for stop in self._wake_sources))
