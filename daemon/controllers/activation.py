"""Carries out the decisions of `activation_policy.decide`: rollouts, link moves and holds; answers the commands.

One rollout runs at a time; a newer request ends it.
Invariant: the link is moved only to bytes that the workers serve, and a result is stored before it is reported.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from math import inf

import structlog
from msgspec.structs import replace

from ...worker.shared.process_readings import read
from ..config.load import Config
from ..errors import ModelwardError
from ..models import decisions as d
from ..models import link
from ..models.activation_policy import ActivationFacts, ActivationPolicy, decide, once_accepted
from ..models.lifecycle import VersionState
from ..state.async_store import AsyncStore
from ..status import serving_state as pos
from ..status.activation_facts import FactsReader
from ..status.snapshot import ActivationSeen
from ..system.available_memory import available_bytes
from ..system.clock import Clock
from ..workers.overlap import Way, way
from ..workers.registry import WorkerRegistry
from ..workers.rollout_executor import Rollout, RolloutExecutor, Target
from .form_choice import FormChoice
from .kept_position import KeptPosition
from .link_placement import LinkPlacement
from .pending_command import PendingCommand
from .rollouts import Rollouts
from .validation import Validation


class Activation:
    """See the module. `happened` is called when another round is needed. `files`: see `KeptPosition`."""

    def __init__(
        self,
        config: Callable[[], Config],
        *,
        clock: Clock,
        async_store: AsyncStore,
        validation: Validation,
        choice: FormChoice,
        registry: WorkerRegistry,
        happened: Callable[[], None],
        progress: Callable[[Rollout], None],
        files: link.LinkFiles | None = None,
    ) -> None:
        self._config, self._clock, self._async_store, self._validation = config, clock, async_store, validation
        self._registry, self._happened, self.choice = registry, happened, choice
        self._log = structlog.get_logger("models")
        self.kept = KeptPosition(config, async_store, validation, happened, files)
        self.executor = RolloutExecutor(
            registry, clock, commit_point=self.kept.commit, progress=progress, room=self._room, read=read
        )
        self.command: PendingCommand | None = None
        self.rollouts = Rollouts(
            config,
            self.executor,
            clock=clock,
            async_store=async_store,
            validation=validation,
            choice=choice,
            serving=lambda: self.position.serving,
            happened=happened,
        )
        self.complaint = self.complaint_about = ""
        self.wanted = ""
        self._facts_reader = FactsReader(clock, validation.copies.is_lost)
        self.placement = LinkPlacement(config, async_store, self._move_link)
        self.resting = self._link_settling = False

    async def start(self, *, returning: bool) -> None:
        """To be called after the first scan; with `returning` when workers of a former daemon are running. Raises
        CannotKeep.
        """
        await self.kept.load(returning=returning)
        await self.placement.start()
        await self.rollouts.recall()

    async def stop(self) -> None:
        await self.rollouts.stop()

    @property
    def position(self) -> pos.Position:
        return self.kept.now

    @property
    def held(self) -> dict[str, str]:
        return self.kept.held

    @property
    def busy(self) -> bool:
        return self.rollouts.busy

    def snapshot(self) -> ActivationSeen:
        """What is served and what is being brought to the workers now."""
        return ActivationSeen(
            self.position,
            dict(self.held),
            self.busy,
            self.resting,
            self.complaint,
            self.complaint_about,
            copy(self.executor.current),
            copy(next((r for r in reversed(self.rollouts.known.values()) if r.changes_version and r.decided), None)),
            self.choice.waiting,
        )

    # deciding

    def next_check(self) -> float | None:
        """When the decision may change only because time passes, monotonic seconds."""
        if self.kept.committing:  # nothing is decided there, however long its disk takes; its end causes a round
            return None
        since, again = self._facts_reader.link_bad_since, self.choice.next_check()
        if since is not None and self._link_settling and self.position.serving is not None:
            return min(since + self._config().models.settle, again or inf)
        return again

    async def decide(self) -> None:
        """Decides once and begins to act. It is quick: long actions continue by themselves.

        It does nothing in the middle of a commit point: then link and position move, and only one may have moved yet.
        """
        if self.kept.committing:
            return
        models = self._config().models
        await self.kept.watch_good()
        await self._replace_lost()
        if not await self.placement.follow(self._validation.sight, self.position.committed):
            self._answer(None, self.complaint)
            return
        for _ in range(4):  # a link put right may show what to do next
            await self.kept.moves.follow(self.position)
            command = self.command or self.rollouts.command
            facts = self._facts(command)
            self._link_settling = facts.link_bad_seconds < models.settle
            decision = decide(facts, self._models_policy())
            self.resting = isinstance(decision, d.Keep)
            self.choice.decided(decision.digest if isinstance(decision, d.Activate) else "")
            if not facts.root_absent:
                self._give_up_unless(decision)
            self.wanted = decision.version if isinstance(decision, d.AwaitVerdict) else ""
            if not await self._act(decision):
                return

    def once_accepted(self, name: str, digest: str) -> bool:
        """Whether a version that is being validated goes live when it is accepted with these bytes."""
        command = self.command or self.rollouts.command
        facts = self._facts(command)
        return once_accepted(facts, self._models_policy(), name, digest)

    def _facts(self, command: PendingCommand | None) -> ActivationFacts:
        validation, asked = self._validation, command.asked if command else None
        return self._facts_reader.take(validation.sight, validation.catalog.entries(), self.position, self.held, asked)

    def _models_policy(self) -> ActivationPolicy:
        models = self._config().models
        activation = "manual" if self._async_store.unread else models.activation  # what is held is not known
        return ActivationPolicy(activation, models.rejected_link, models.settle)

    def _give_up_unless(self, decision: d.Decision) -> None:
        """Ends a rollout before its commit point when another version is wanted. A refused command changes nothing."""
        rollout = self.executor.current
        if rollout is None or rollout.origin == "converge" or rollout.link_moved:
            return
        if rollout.origin == "form":
            if isinstance(decision, d.Acknowledge | d.MakeLink | d.RestoreLink):  # what serves gets another name
                self.executor.cancel(f"it is no longer wanted: {decision.because}")
        elif not isinstance(decision, d.Activate | d.Refuse):
            self.executor.cancel(f"it is no longer wanted: {decision.because}")

    async def _act(self, decision: d.Decision) -> bool:
        """Returns True when the facts changed, so that it is worth deciding again at once."""
        match decision:
            case d.Keep():
                self.complaint = ""
            case d.Complain(because):
                self._complain(because, decision.version)
            case d.Activate():
                return await self._activate(decision)
            case d.Acknowledge(version, digest, because):
                await self._renamed(version, digest, because, decision.hold)
                return True
            case d.MakeLink(version, digest, because):
                if not await self._move_link(version, digest, because):
                    return self._answer(None, self.complaint)
                await self._renamed(version, digest, because, decision.hold)
                return True
            case d.RestoreLink(version, digest, because):
                if await self._move_link(version, digest, because):
                    self._async_store.note("link-restored", version, because)
                    await self.kept.keep(pos.renamed(self.position, version, digest, self._copy(version, digest)))
                    return True
            case d.Refuse(because):
                return self._answer(None, because)
            case d.Already(_, because):
                return self._answer(because, "")
            case d.AwaitVerdict(version):  # validation takes `wanted` first
                self._answer_if_hindered(version)
        return False

    def _answer_if_hindered(self, version: str) -> None:
        """A command does not wait through the pauses between attempts that end without a verdict."""
        because = self._validation.hindered(version)
        if because and self.command is not None:
            self._answer(None, f"cannot {self.command.asked.kind} {version}: {because}; {self.position.still}")

    def _complain(self, because: str, version: str) -> None:
        if because != self.complaint:
            self.complaint, self.complaint_about = because, version
            self._log.error("cannot go on by itself", because=because)
            self._async_store.note("complaint", version, because)

    def _answer(self, sentence: str | None, refusal: str) -> bool:
        """Answers the command of this decision; False when there is none."""
        command, self.command = self.command, None
        if command is None:
            return False
        command.fulfil(sentence) if sentence is not None else command.refuse(refusal)
        return True

    # rolling out

    async def _activate(self, decision: d.Activate) -> bool:
        target = self.target(decision.version, decision.digest)
        if (current := self.executor.current) is not None or self.busy:
            if current is not None and current.target.digest != decision.digest:
                self.executor.cancel(f"{decision.version} is wanted now ({decision.because})")
            return False
        if target is None:
            self._complain(f"cannot serve {decision.version}: its copy is gone", decision.version)
            return False
        entry = self._validation.catalog.get(decision.version)
        may_wait = decision.origin in ("auto", "operator") and entry is not None
        if may_wait and entry is not None and self.choice.waits(entry, self.position.serving):
            return False
        if self.command is None and self.rollouts.waits(decision.digest):
            return False
        command, self.command = self.command, None
        if decision.origin == "start":
            if entry is not None and entry.artifact and entry.digest == decision.digest:
                target = self.choice.proved(entry, self.position.good)
            await self._start_on(target, decision)
            return False
        rollout = self.rollouts.new(target, decision.origin, decision.because)
        rollout.moves_link, rollout.hold = decision.move_link, decision.hold
        self.rollouts.begin(rollout, command)
        return False

    async def _start_on(self, target: Target, decision: d.Activate) -> None:
        """Sets what workers serve after a start: they get it when they join, without a rollout."""
        self._log.info("starting", version=target.version, because=decision.because)
        self._async_store.note("start", target.version, decision.because)
        linked = decision.move_link
        await self.kept.keep(pos.served(self.position, target, linked=linked), decision.hold, decision.because)
        self._happened()

    def converge(self, command: PendingCommand | None = None) -> bool:
        """Brings workers that serve something else back to the version; False when there are none. Then `command` is
        answered.
        """
        serving = self.position.serving
        if serving is None or self.busy:
            return False
        astray = [p for p in self._registry.peers() if not p.draining and not p.loading]
        if all(p.on(serving.version, serving.artifact) for p in astray):
            return False
        if self.rollouts.waits(serving.digest):
            return False
        self.rollouts.begin(self.rollouts.new(serving, "converge", "a worker serves something else"), command)
        return True

    def improve(self) -> bool:
        """Brings the workers a better form of the version that they serve, with a canary and a way back. False when
        there is none.

        It runs only while no other version is wanted.
        """
        serving = self.position.serving
        if serving is None or self.busy or not (self.resting or self.complaint):
            return False
        better = self.choice.better(serving)
        if better is None:
            return False
        self.rollouts.begin(self.rollouts.new(better, "form", f"ready: {self.choice.describe(better)}"), None)
        return True

    async def _replace_lost(self) -> None:
        """When the serving form was removed, workers that start load the version as it came."""
        serving = self.position.serving
        other = self.choice.lost(serving) if serving is not None and not self.busy else None
        if other is not None:
            self._log.warning("form lost; served as it came until it is made again", version=other.version)
            await self.kept.keep(replace(self.position, serving=other, good=other))

    def target(self, version: str, digest: str) -> Target | None:
        """Where these bytes can be loaded from; None when there is no usable copy."""
        entry = self._validation.catalog.get(version)
        if entry is not None and entry.state is VersionState.ACCEPTED and entry.digest == digest:
            return self.choice.target(entry)
        good = self.position.usable_good(self._validation.copies.is_lost)
        return good if good and good.digest == digest else None

    def artifacts_in_use(self) -> set[str]:
        """Directories that workers map, or would load when they start."""
        kept = (self.position.serving, self.position.good)
        return {peer.artifact for peer in self._registry.peers()} | {t.artifact for t in kept if t}

    def _copy(self, version: str, digest: str) -> Target | None:
        """These bytes under this very name, for workers to load."""
        copy = self.target(version, digest)
        return copy if copy is not None and copy.version == version else None

    def _room(self, target: Target) -> tuple[Way, str]:
        rollout = self.executor.current
        only_a_form = rollout is not None and rollout.origin == "form"  # not worth a moment without service
        return way(target.load_bytes, available_bytes(), "required" if only_a_form else self._config().rollout.overlap)

    async def _move_link(self, version: str, digest: str, because: str) -> bool:
        try:
            await self.kept.put_link(version, digest)
            await self._validation.scan()
        except ModelwardError as e:
            self._complain(str(e), version)
            return False
        self._log.warning("link moved", version=version, because=because)
        return True

    async def _renamed(self, version: str, digest: str, because: str, hold: tuple[str, ...]) -> None:
        """Has the workers load these proved bytes under the name on the link; no canary is needed."""
        self._async_store.note("acknowledged", version, because)
        copy, here = self._copy(version, digest), self.position
        now = pos.served(here, copy, linked=True) if copy else pos.renamed(here, version, digest, None)
        await self.kept.keep(now, hold, because)
        command, self.command = self.command, None
        if not self.converge(command) and command is not None:
            command.fulfil(f"serving {version}")
