"""Carries out what a fleet's record wants on this machine, one step at a time, and reports it.

`fleet.agent_planner` decides; this reads the facts, acts and reports. It exists where a fleet is configured.
Invariants: a server that does not answer changes nothing that is served; what a machine has begun is remembered before
it is done.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable
from math import inf
from typing import Any, Final

import structlog
from msgspec import convert
from msgspec.structs import astuple

from ...worker.shared.installed_release import RELEASE
from ...worker.shared.minisign import PublicKey, parse_key
from ...worker.shared.unreadable import UNREADABLE
from ..answers.fleet import FleetAnswer
from ..config.local_times import zone_of
from ..fleet.acceptance import LastTaken, accept, in_force
from ..fleet.agent_planner import AgentFacts, AgentStep, BegunRecord, plan, poll_delay, retry_delay
from ..fleet.engine import EngineAway, FeedbackEngine, NoRight, NotOffered, RecordEngine
from ..fleet.engines import with_feedback
from ..fleet.keeper import Keeper, KeeperView
from ..fleet.membership import FleetMachine, wave_of
from ..fleet.record import BadRecord, FleetRecord
from ..fleet.reports import LEASE_SECONDS, MachineReport
from ..fleet.signature import NotSigned, SignedRecord, open_record
from ..fleet.waves import WaveProgress
from ..models.activation_policy import FLEET_WANTS, ActivationRequest
from ..models.snapshot import RootAbsent
from ..state.sequences import TakenRow
from ..units import MINUTE
from .fleet_local import FleetAccess, held_by_operator, local_version, manifest_sha256, processor
from .fleet_part import FleetPart
from .fleet_reports import record_report, rollout_report
from .pending_command import PendingCommand

BEGUN: Final = "fleet_begun"
WAKES_A_MINUTE: Final = 4
"""Whoever may send on the server can wake machines; more often than this they read at their own times."""
MAX_STEPS: Final = 4
"""So many steps follow one another at once."""


class FleetAgent:
    """See the module. `machine` is this one; `happened` is called when a fetch or a check of digests ended."""

    def __init__(
        self, access: FleetAccess, engine: RecordEngine, machine: FleetMachine, *, happened: Callable[[], None]
    ) -> None:
        self._access, self._engine, self.machine = access, engine, machine
        self._feedback: FeedbackEngine | None = with_feedback(engine)
        self._keeper = Keeper(self._feedback, machine.name) if self._feedback is not None else None
        self._log = structlog.get_logger("fleet")
        self._part = FleetPart(access.config, access.clock, engine, machine.name, access.rename, happened)
        self._keys = tuple[PublicKey, ...](parse_key(line) for line in access.config().fleet.public_keys)
        self._signed: SignedRecord | None = None
        self._last: LastTaken | None = None
        self._progress = WaveProgress() if self._feedback is not None else None
        self._begun = BegunRecord()
        self._offered, self._offered_at, self._followed_at = b"", 0.0, 0.0
        self._polls = self._failures = 0
        self._poll_at = self._plan_at = -inf
        self._woken = deque([-inf] * WAKES_A_MINUTE, WAKES_A_MINUTE)
        self._known: object = None
        self._away_since: float | None = None
        self._recalled = False
        self._reported: tuple[Any, ...] = ()
        self._manifests: tuple[str, str] = ("", "")
        self._processor = ""
        self.away = self.refused = self.missing = self.not_keeper = ""
        self.step_taken: AgentStep | None = None
        self.kept: KeeperView | None = None

    async def stop(self) -> None:
        await self._part.stop()
        await self._engine.close()

    async def wake(self) -> None:
        """Returns when the record may be another one; never, where the engine cannot wake."""
        if self._feedback is None:
            await asyncio.Event().wait()
        else:
            await self._feedback.wake()
        now, at = self._access.clock.monotonic(), self._woken[0] + MINUTE
        if at <= now:
            self._woken.append(now)
        self._poll_at = min(self._poll_at, max(now, at))

    async def step(self) -> float:
        """Does what is due; after so many seconds something may be due again."""
        if not self._recalled:
            await self._recall()
        now = self._access.clock.monotonic()
        polls = now >= self._poll_at
        if polls:
            await self._poll(now)
        if polls or now >= self._plan_at or self._local() != self._known:
            await self._plan()
            await self._report(polls)
        return max(0.05, min(self._poll_at, self._plan_at) - self._access.clock.monotonic())

    # the record

    async def _recall(self) -> None:
        """The record that was followed before this start. Raises CannotKeep."""
        row, begun = await self._access.async_store.do(lambda store: (store.taken_record(), store.fact(BEGUN)))
        self._processor = await asyncio.to_thread(processor)
        if row is not None:
            self._last = LastTaken(row.sequence, row.digest, row.issued)
            try:
                self._follow(open_record(row.content.encode(), self._keys))
            except NotSigned as e:
                # Its key was removed: the numbers that a stolen key gave keep no record of another key away.
                self._last, self.refused = LastTaken(0, "", row.issued), str(e)
            except BadRecord as e:
                self.refused = str(e)
        try:
            self._begun = convert(begun, BegunRecord)
        except UNREADABLE:  # none, or a damaged row
            self._begun = BegunRecord()
        self._recalled = True

    def _follow(self, signed: SignedRecord) -> None:
        self._signed, self._followed_at = signed, self._access.clock.monotonic()
        self._part.forget_trouble()

    async def _poll(self, now: float) -> None:
        """Reads the record and how far it has come. An engine that is away is asked again soon."""
        fleet, self._polls = self._access.config().fleet, self._polls + 1
        # A machine reports when it reads, and a report is a lease.
        longest = fleet.poll if self._feedback is None else min(fleet.poll, LEASE_SECONDS)
        delay = poll_delay(self.machine.name, longest, self._polls)
        try:
            await self._offer(await self._engine.record())
            self.missing = ""
            if self._feedback is not None:
                self._progress = (await self._feedback.kept_progress()).progress
            # One that cannot follow what is on the server leaves it to another keeper.
            await self._keep(fleet.keeper and not self.refused)
            self._reached()
        except NotOffered as e:
            self.missing = str(e)
            if self._signed is not None and not fleet.url.startswith("file:"):  # a stick may be elsewhere
                delay = min(delay, self._unreached(e, now))
            else:
                self._reached()
        except EngineAway as e:
            delay = min(delay, self._unreached(e, now))
        self._poll_at = self._access.clock.monotonic() + delay

    async def _offer(self, text: bytes) -> None:
        """Follows the record, if it may be followed. Raises CannotKeep."""
        clock = self._access.clock
        if text != self._offered:
            self._offered, self._offered_at = text, clock.monotonic()
        try:
            signed = await asyncio.to_thread(open_record, text, self._keys)
        except BadRecord as e:
            self._refuse(str(e))
            return
        answer = accept(signed, self._last, clock.wall(), clock.monotonic() - self._offered_at)
        if answer.do == "take" and answer.taken is not None:
            taken = answer.taken
            row = TakenRow(taken.digest, taken.sequence, taken.issued_at, text.decode())
            await self._access.async_store.do(lambda store: store.take_record(row))
            self._last = taken
            self._follow(signed)
            self._access.async_store.note("fleet-record", signed.record.version, answer.because)
            self._log.info("fleet record", sequence=taken.sequence, because=answer.because)
        if answer.do == "keep" and self._signed is None:
            self._follow(signed)
        self._refuse(answer.because if answer.do in ("refuse", "wait") else "")

    def _refuse(self, because: str) -> None:
        if because and because != self.refused:
            self._log.error("fleet record not followed", because=because)
            self._access.async_store.note("fleet-refused", "", because)
        self.refused = because

    def _reached(self) -> None:
        if self.away:
            self._log.info("fleet reached again")
        self._failures, self._away_since, self.away = 0, None, ""

    def _unreached(self, error: EngineAway, now: float) -> float:
        """Notes that the engine is away; after how many seconds it is asked again."""
        if not self.away:
            self._log.warning("fleet not reached", because=str(error))
        self._away_since = now if self._away_since is None else self._away_since
        self._failures, self.away = self._failures + 1, str(error)
        return retry_delay(self.machine.name, self._failures)

    async def _keep(self, keeper: bool) -> None:
        """As the keeper, opens waves. Raises EngineAway."""
        self.kept, self.not_keeper = None, ""
        if not keeper or self._keeper is None or self._signed is None:
            return
        try:
            self.kept = await self._keeper.step(self._signed.record)
        except NoRight:  # what it does as a machine of the fleet is not affected
            self.not_keeper = (
                "fleet.keeper is set, and this machine was not admitted as a keeper: the server needs "
                f"`modelward fleet admit {self.machine.name} --role keeper`"
            )
        if self.kept is None:
            return
        step = self.kept.step
        self._progress = step.progress
        if self.kept.changed and step.do != "wait":
            self._access.async_store.note(f"fleet-{step.do}", self._signed.record.version, step.because)
            self._log.info("fleet rollout", step=step.do, wave=step.wave, because=step.because)

    # the plan

    def _local(self) -> object:
        """What a plan depends on besides time: where it is the same, there is nothing new to decide."""
        access, record = self._access, self._signed.record if self._signed is not None else None
        entry = access.validation.catalog.get(record.version) if record is not None else None
        activation = access.activation
        current = activation.executor.current
        return (
            self._signed and self._signed.digest,
            self._progress,
            entry and (entry.state, entry.digest, entry.seen.fingerprint),
            activation.position,
            activation.held.get(record.version, "") if record is not None else "",
            activation.busy,
            activation.command is not None,
            current and current.target.digest,
            activation.choice.waiting[0],
            self._part.turn,
        )

    async def _plan(self) -> None:
        """Plans and does, until there is nothing to do at once."""
        self._plan_at = inf
        if self._signed is None:
            self._known = self._local()
            return
        record, clock = self._signed.record, self._access.clock
        for _ in range(MAX_STEPS):
            facts, wall = await self._facts(record), clock.wall()
            self._known = self._local()
            step = plan(record, self._progress, facts, wall)
            if isinstance(self._access.validation.sight, RootAbsent):
                because = f"the model root is absent: {self._access.validation.sight.because}"
                step = AgentStep("wait", "blocked", because, facts.begun)
            if step.begun != self._begun:
                await self._remember(step.begun)
            self.step_taken = step
            if not await self._do(step, record):
                break
        if self.step_taken is not None and self.step_taken.until:
            self._plan_at = clock.monotonic() + max(1.0, self.step_taken.until - clock.wall())

    async def _remember(self, begun: BegunRecord) -> None:
        """Raises CannotKeep."""
        kept = dict(zip(BegunRecord.__struct_fields__, astuple(begun), strict=True))
        await self._access.async_store.do(lambda store: store.put(**{BEGUN: kept}))
        self._begun = begun

    async def _do(self, step: AgentStep, record: FleetRecord) -> bool:
        """True when it is worth planning again at once."""
        access = self._access
        if step.do not in ("fetch", "verify"):
            await self._part.stop()
        match step.do:
            case "discard":
                return await self._part.discard()
            case "fetch":
                self._part.fetch(record)
            case "verify":
                self._part.verify(record)
            case "rename":
                renamed = await self._part.rename_in(record.version)
                if renamed:
                    access.async_store.note("fleet-fetched", record.version, f"record {record.sequence} wants it")
                    await access.validation.scan()
                    access.wakeups.wake()
                return renamed
            case "activate":
                self._request(record.version)
            case "judge_again":
                await access.validation.validate_again(record.version)
                access.wakeups.wake()
        return False

    def _request(self, version: str) -> None:
        """As an operator would; a command of an operator that is under way is not replaced."""
        activation = self._access.activation
        if activation.command is None and activation.rollouts.command is None:
            activation.command = PendingCommand(ActivationRequest("activate", version, FLEET_WANTS))
            self._access.wakeups.wake()

    async def _facts(self, record: FleetRecord) -> AgentFacts:
        access, clock = self._access, self._access.clock
        config, entry = access.config(), access.validation.catalog.get(record.version)
        same = False
        if entry is not None:
            if self._manifests[0] != entry.seen.fingerprint:
                path = config.models.root / record.version
                self._manifests = (entry.seen.fingerprint, await asyncio.to_thread(manifest_sha256, path))
            same = self._manifests[1] == record.manifest_sha256
        word, part = access.activation.position.word, await self._part.facts()
        signed = self._signed
        assert signed is not None
        return AgentFacts(
            self.machine,
            self._begun,
            local_version(entry, same, access.activation),
            word.name if word is not None else "",
            part.part,
            free_bytes=part.free_bytes,
            keep_free_bytes=part.keep_free_bytes,
            fetch_trouble=part.trouble,
            retry_at=part.retry_at,
            ended=in_force(signed, self._last, clock.wall()),
            followed_seconds=clock.monotonic() - self._followed_at,
            zone=zone_of(config.fleet.time_zone),
            held=held_by_operator(record.version, access.activation),
        )

    # the report

    async def _report(self, polls: bool) -> None:
        """Replaces this machine's report, where it is another one or its lease needs it."""
        if self._feedback is None or (self._away_since is not None and not polls):
            return
        report = self._made_report()
        key = (report.sequence, report.attempt, report.outcome, report.because, report.version, report.digest)
        if not polls and key == self._reported:
            return
        try:
            await self._feedback.put_report(report)
            self._reported = key
        except EngineAway as e:
            now = self._access.clock.monotonic()
            self._poll_at = min(self._poll_at, now + self._unreached(e, now))

    def _made_report(self) -> MachineReport:
        position, step, record = self._access.activation.position, self.step_taken, self._signed
        because = self.refused or (step.because if step is not None else self.missing or "there is no record")
        return MachineReport(
            self.machine.name,
            self.machine.labels,
            sequence=record.record.sequence if record is not None else 0,
            attempt=self._begun.attempt,
            outcome=step.outcome if step is not None else "waiting",
            because=because,
            version=position.word.name if position.word is not None else "",
            digest=position.serving.digest if position.serving is not None else "",
            host=socket.gethostname(),
            release=RELEASE,
            processor=self._processor,
            free_bytes=self._part.free_bytes,
            fetched_bytes=self._part.bytes,
        )

    # for people

    @property
    def away_seconds(self) -> float:
        return 0.0 if self._away_since is None else self._access.clock.monotonic() - self._away_since

    def answer(self) -> FleetAnswer:
        """See the structure."""
        fleet, step = self._access.config().fleet, self.step_taken
        record = self._signed.record if self._signed is not None else None
        wave = wave_of(record.waves, self.machine) if record is not None else None
        return FleetAnswer(
            fleet.url,
            self.machine.name,
            list(self.machine.labels),
            fleet.keeper,
            wave + 1 if wave is not None else 0,
            step.outcome if step is not None else "waiting",
            step.because if step is not None else self.missing or "there is no record",
            self._part.bytes,
            round(self.away_seconds, 1),
            self.away,
            self.refused or self.not_keeper,
            record_report(record) if record is not None else None,
            rollout_report(self.kept) if self.kept is not None else None,
        )
