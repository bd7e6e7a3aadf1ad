"""Runs rollouts one at a time, each to its outcome; records the outcome and answers its command.

It decides neither what to serve nor the steps of a rollout. Invariant: however a rollout ends, it has an outcome, and
another may begin.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final

import structlog

from ..answers.rollouts import RolloutAnswer
from ..config.load import Config
from ..errors import ModelwardError
from ..models.attempts import Attempts
from ..models.lifecycle import VersionState
from ..state.async_store import AsyncStore, CannotKeep
from ..status import serving_state as pos
from ..system.background import here
from ..system.clock import Clock, rfc3339
from ..system.failures import sentence
from ..workers.rollout_executor import Rollout, RolloutExecutor, Target
from ..workers.rollout_planner import RolloutPolicy
from .form_choice import FormChoice
from .pending_command import PendingCommand
from .validation import Validation

RETRY_SECONDS: Final = (1.0, 2.0, 5.0, 15.0, 60.0)
BROKE: Final = "it ended by an error in the daemon, which is in the log"
MAX_REMEMBERED: Final = 50
LOAD_TIMES: Final = 20.0
"""So many times the CPU time of loading that was measured when the version was judged, a worker may take."""


class Rollouts:
    """`serving` is what serves now. `happened` is called when a rollout ended. `known` are the last ones,
    by id.

    `command` is the one that the running rollout answers.
    """

    def __init__(
        self,
        config: Callable[[], Config],
        executor: RolloutExecutor,
        *,
        clock: Clock,
        async_store: AsyncStore,
        validation: Validation,
        choice: FormChoice,
        serving: Callable[[], Target | None],
        happened: Callable[[], None],
    ) -> None:
        self._config, self._clock, self._async_store, self._validation = config, clock, async_store, validation
        self._choice, self._serving, self._happened = choice, serving, happened
        self._log = structlog.get_logger("models")
        self.executor = executor
        self.known: dict[str, Rollout] = {}
        self.command: PendingCommand | None = None
        self._again: Rollout | None = None
        self._last: Rollout | None = None
        self._task: asyncio.Task[None] | None = None
        self._failures = Attempts(RETRY_SECONDS)

    @property
    def busy(self) -> bool:
        return self._task is not None

    async def recall(self) -> None:
        """Records the outcome of a rollout that the end of a former daemon interrupted. Raises CannotKeep."""
        if former := await self._async_store.do(pos.cut_short):
            self._note_outcome(former, former.because)
            await self._async_store.do(pos.settled)

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task], timeout=2.0)

    def waits(self, digest: str) -> bool:
        """Whether rollouts to these bytes failed and the next attempt is not due."""
        return self._failures.waits(digest, self._clock.monotonic())

    def new(self, target: Target, origin: str, because: str) -> Rollout:
        """From what serves now to `target`; the link stays."""
        now, began = self._clock.monotonic(), rfc3339(self._clock.wall())
        old = None if origin == "converge" else self._serving()
        return Rollout(secrets.token_hex(4), target, origin, because, old, now, began, moves_link=False)

    def begin(self, rollout: Rollout, command: PendingCommand | None) -> None:
        while len(self.known) >= MAX_REMEMBERED:
            del self.known[next(iter(self.known))]
        self.known[rollout.id] = rollout
        self._log.info("rollout", rollout=rollout.id, version=rollout.target.version, because=rollout.because)
        self.command, self._last, self._again = command, rollout, None
        self._task = here().start("rollout", partial(self._roll_out, rollout))
        self._task.add_done_callback(partial(self._over, command))

    async def _roll_out(self, rollout: Rollout) -> None:
        try:
            if rollout.changes_version:
                with suppress(CannotKeep):  # a full disk costs a line of history, not the rollout
                    await self._async_store.do(lambda store: pos.begun(store, rollout.answer()))
            await self.executor.run(rollout, self._policy(rollout))
            await self._settle(rollout)
            if again := self._again:
                self._last, self._again = again, None
                await self.executor.run(again, self._policy(again))
                await self._settle(again)
        except Exception as e:
            expected = isinstance(e, ModelwardError)
            self._broke(str(e) if expected else f"{BROKE}: {sentence(e)}")
            with suppress(CannotKeep):
                await self._async_store.do(pos.settled)
            if not expected:
                raise

    def _broke(self, because: str) -> None:
        """Sets the outcome of a rollout that ended without one. The version is not at fault, and is tried again."""
        rollout = self._last
        if rollout is None or rollout.decided:
            return
        rollout.state, rollout.outcome = "failed", because
        self._failures.failed(rollout.target.digest, self._clock.monotonic())
        self._log.error("rollout failed", rollout=rollout.id, because=because)
        if rollout.origin != "converge":
            self._note_outcome(rollout.answer(), because)

    def _over(self, command: PendingCommand | None, task: asyncio.Task[None]) -> None:
        """The rollout ended in some way: another may begin, and its command is answered."""
        rollout, because = self._last, "the rollout was interrupted"
        assert rollout is not None
        if not task.cancelled():
            self._broke(BROKE)  # unless it has its outcome
            because = rollout.outcome
        self._task = self.command = self._last = None
        if command is not None:
            refusal = f"cannot activate {rollout.target.version}: {because}"
            command.fulfil(because) if rollout.succeeded else command.refuse(refusal)
        self._happened()

    def _policy(self, rollout: Rollout) -> RolloutPolicy:
        """The operator's rules for this rollout.

        A large version may load longer; one that goes as it came is not compared with a compiled one as with its like.
        """
        rules = self._config().rollout
        return RolloutPolicy(
            canary=rules.canary,
            bake_seconds=rules.bake,
            max_error_ratio=rules.max_error_ratio,
            max_latency_ratio=rules.max_latency_ratio * self._choice.handicap(rollout),
            reload_timeout_seconds=load_seconds(rules.reload_timeout, rollout.target),
        )

    async def _settle(self, rollout: Rollout) -> None:
        """Records how it ended."""
        target = rollout.target
        if rollout.origin != "converge":
            self._note_outcome(rollout.answer(), rollout.because if rollout.succeeded else rollout.outcome)
        if rollout.changes_version:
            with suppress(CannotKeep):
                await self._async_store.do(pos.settled)
        if rollout.succeeded:
            self._failures.succeeded(target.digest)
            self._choice.succeeded()
            return
        form_failed = await self._choice.failed(rollout)
        if rollout.origin == "form":
            return
        if form_failed:
            self._again = self._as_it_came(rollout)
        elif rollout.blame and rollout.old is not None:
            await self._validation.reject(target.version, target.digest, rollout.outcome)
        if not rollout.cancelled and self._again is None:
            self._failures.failed(target.digest, self._clock.monotonic())

    def _as_it_came(self, failed: Rollout) -> Rollout | None:
        """Runs the same version again without the form that failed: only a second failure is the version's."""
        entry = self._validation.catalog.get(failed.target.version)
        if entry is None or entry.state is not VersionState.ACCEPTED or entry.digest != failed.target.digest:
            return None
        again = self.new(self._choice.plain(entry), failed.origin, f"{failed.because}; as it came")
        again.moves_link, again.hold = failed.moves_link, failed.hold
        self.known[again.id] = again
        self._log.info("rollout", rollout=again.id, version=again.target.version, because=again.because)
        return again

    def _note_outcome(self, rollout: RolloutAnswer, because: str) -> None:
        kind = "activated" if rollout.succeeded else "rollout-failed"
        if rollout.origin == "form":
            kind = "form-live" if rollout.succeeded else "form-failed"
        self._async_store.note(kind, rollout.version, because, rollout=rollout)


def load_seconds(configured_seconds: float, target: Target | None) -> float:
    """How much time a worker may use to load a version: the configured time is for a usual size."""
    return max(configured_seconds, LOAD_TIMES * target.load_seconds if target else 0.0)
