"""One round of the loop: runs every controller in order, each by itself.

A controller that raises an exception of any type is recorded as a failure (the alert `controller_failed`) and tried
again after a pause. One that does not end is left running. In both cases the others run as usual. It decides nothing
about the service. Invariant: `run`, `next_due` and `wrong` raise no exception of a controller.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final, Protocol

from msgspec import Struct

from ...worker.shared.started import awaited
from ..system.background import Background
from ..system.clock import Clock

MOVE_ON_SECONDS: Final = 10.0
"""How long the other controllers wait for one."""
STUCK_SECONDS: Final = 60.0
"""A controller that takes longer has failed until it ends."""
WRONG_SECONDS: Final = 120.0
"""When a controller has failed for longer, a new daemon is needed."""
END_SECONDS: Final = 1.0
UNKNOWN_SECONDS: Final = 5.0
"""The time to the next round when a controller is stuck or its `next_due` fails."""


class Controller(Protocol):
    """A part of the daemon that makes one thing as it should be. Its alert has its `name`."""

    name: str

    async def ensure(self) -> None:
        """Compares what is with what should be, and begins to act. Long actions continue by themselves."""

    def next_due(self) -> float | None:
        """When time alone may make another round necessary, monotonic seconds."""

    async def stop(self) -> None:
        """Ends what it began."""


class _Turn(Struct):
    """The state of one controller. `not_before` and `began` are monotonic seconds; `stuck`: it was
    recorded as stuck.
    """

    controller: Controller
    not_before: float = 0.0
    began: float = 0.0
    task: asyncio.Task[None] | None = None
    stuck: bool = False

    @property
    def name(self) -> str:
        return self.controller.name


class Round:
    """See the module. `move_on_seconds` is how long a controller is waited for."""

    def __init__(
        self,
        controllers: Sequence[Controller],
        clock: Clock,
        background: Background,
        *,
        move_on_seconds: float = MOVE_ON_SECONDS,
    ) -> None:
        self.controllers = tuple(controllers)
        self._turns = [_Turn(controller) for controller in controllers]
        self._clock, self._background, self._move_on = clock, background, move_on_seconds
        self._over = False

    async def run(self) -> None:
        """One round."""
        for turn in self._turns:
            if not self._over:
                await self._take(turn)

    async def _take(self, turn: _Turn) -> None:
        now = self._clock.monotonic()
        if turn.task is None:
            if now < turn.not_before:
                return
            turn.began, turn.stuck = now, False
            turn.task = awaited(self._ensure(turn), turn.name)
            await asyncio.wait({turn.task}, timeout=self._move_on)
        if turn.task.done():
            turn.task = None
        elif self._clock.monotonic() - turn.began > STUCK_SECONDS and not turn.stuck:
            turn.stuck = True
            self._background.failures.failed(turn.name, TimeoutError(f"no end within {STUCK_SECONDS:g} s"))

    async def _ensure(self, turn: _Turn) -> None:
        pause = await self._background.attempt(turn.name, turn.controller.ensure)
        turn.not_before = self._clock.monotonic() + pause if pause else 0.0
        if not pause:
            self._background.works(turn.name)

    def next_due(self) -> float | None:
        """When the next round is due at the latest, monotonic seconds; None when no controller needs one."""
        now = self._clock.monotonic()
        due = [self._background.failures.next_due()]
        for turn in self._turns:
            if turn.task is not None:
                due.append(turn.began + STUCK_SECONDS if now < turn.began + STUCK_SECONDS else now + UNKNOWN_SECONDS)
            elif now < turn.not_before:
                due.append(turn.not_before)
            else:
                unknown: float | None = now + UNKNOWN_SECONDS
                due.append(self._background.call(f"{turn.name}.next_due", turn.controller.next_due, unknown))
        return min((moment for moment in due if moment is not None), default=None)

    def wrong(self) -> str:
        """The controller that has failed for too long; "" for none."""
        now = self._clock.monotonic()
        names = {turn.name for turn in self._turns}
        for failure in self._background.failures.current():
            if failure.part in names and now - failure.since > WRONG_SECONDS:
                return f"{failure.part} has failed for more than {WRONG_SECONDS:g} s: {failure.because}"
        return ""

    def end_soon(self) -> None:
        """No further controller begins in this round; the running one gets END_SECONDS."""
        if not self._over:
            self._over = True
            asyncio.get_running_loop().call_later(END_SECONDS, self._end)

    def _end(self) -> None:
        for turn in self._turns:
            if turn.task is not None:
                turn.task.cancel()
