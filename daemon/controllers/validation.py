"""Keeps the catalog of versions current: scans the model root, recalls verdicts, and validates the
others in turn.

It decides only the order: the wanted version first, then the one that has waited longest. Invariant: a verdict is used
only for the bytes that it was made on, and it is stored before any part acts on it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import structlog

from ...worker.child_protocol import Candidate, Copied, GateDone, GateStarted
from ...worker.shared.artifact import is_digest
from ..config.load import Config
from ..models import verdict as v
from ..models.artifacts import is_whole
from ..models.catalog import Catalog, CatalogEntry
from ..models.form_plan import WantedForm
from ..models.lifecycle import VersionEvent, VersionState
from ..models.link_place import place_of
from ..models.scan import scan_candidates
from ..models.settle import ARRIVING, NOT_JUDGED, Unfit, proves_itself, quiet_at
from ..models.snapshot import RootAbsent, Sight, VersionSeen
from ..models.validator_process import MODULE, CannotStart, validate
from ..state.async_store import AsyncStore, CannotKeep
from ..status.snapshot import VersionsSeen, frozen
from ..system.available_memory import available_bytes, capacity
from ..system.clock import Clock, rfc3339
from ..system.failures import sentence as broken
from ..system.processes import python, spawn
from ..workers.rollout_executor import Target
from .child_requests import candidate
from .child_work import ChildWork
from .copy_watch import CopyWatch
from .misplaced_watch import MisplacedWatch
from .root_notices import RootNotices
from .verdict_memory import SignedBefore, VerdictMemory

BROKE = "an error in the daemon, which is in the log"
CHANGES_BELIEVED = 3
"""After so many changes in a row during validation, while every scan found the same files, the pauses grow."""
RETRY_SECONDS = (15.0, 30.0, 60.0, 120.0, 240.0, 480.0, 600.0)
"""The pauses after attempts in a row that ended without a verdict, not because of the version."""


class Validation:
    """See the module. `happened` is called when another round is needed.

    `copy` is the version that is being validated, once its copy is complete: its forms may be made. `unjudged` are
    versions whose validation ended twice in a row without a verdict, each with the reason.
    """

    def __init__(
        self,
        config: Callable[[], Config],
        *,
        clock: Clock,
        async_store: AsyncStore,
        happened: Callable[[], None],
        progress: Callable[[str, GateStarted | GateDone], None],
    ) -> None:
        self._config, self._clock, self._async_store = config, clock, async_store
        self._happened, self._progress = happened, progress
        self._log = structlog.get_logger("models")
        self._work = ChildWork(config, self._log, forms=False)
        self._one_scan = asyncio.Lock()
        self._hindered: dict[str, int] = {}
        self._changes: dict[str, tuple[str, int]] = {}
        self.unjudged: dict[str, str] = {}
        self._wanted = ""
        self.copy: WantedForm | None = None
        self._asked: dict[str, None] = {}
        self.misplaced, self.root_notices = MisplacedWatch(async_store), RootNotices(async_store)
        self.copies = CopyWatch()
        self.still_seconds = 0.0
        self.catalog = Catalog()
        self.verdicts = VerdictMemory(config, async_store, self.catalog)
        self.sight: Sight = RootAbsent("not looked at yet")
        self.judged = 0

    async def start(self) -> None:
        await self.verdicts.start()
        await self._work.remove_unfinished()

    async def stop(self) -> None:
        await self._work.stop()

    def snapshot(self) -> VersionsSeen:
        """The model root and its versions as they are known now."""
        known, unjudged = frozen(self.catalog.entries()), dict(self.unjudged)
        return VersionsSeen(self.sight, known, self.busy, self.still_seconds, unjudged, self.misplaced.found)

    # scanning

    async def scan(self, before: Callable[[], str] = str) -> str:
        """Scans the model root once; the catalog is current when this returns. `before` runs on the same thread; its
        result is returned.

        Scans run one after another, so an older result never replaces a newer one.
        """
        async with self._one_scan:
            return await self._scan(before)

    async def _scan(self, first: Callable[[], str]) -> str:
        models, place = self._config().models, place_of(self._config())
        settled = frozenset(
            e.name for e in self.catalog.entries() if e.state in (VersionState.ACCEPTED, VersionState.REJECTED)
        )
        before = self.sight
        copies = {e.name: e.artifact for e in self.catalog.entries() if e.state is VersionState.ACCEPTED}

        def on_thread() -> tuple[str, Sight, frozenset[str]]:
            said, seen = first(), scan_candidates(models.root, place, before, settled)
            return said, seen, self.copies.check(copies.values())

        said, self.sight, lost = await asyncio.to_thread(on_thread)
        self.copies.found(lost)
        if isinstance(self.sight, RootAbsent):
            if before != self.sight:
                self._log.error("model root absent", because=self.sight.because)
                self._async_store.note("root-absent", "", f"{self.sight.because}; nothing was unloaded")
            return said
        quiet = self._config().validation.alert_after
        for note in self.catalog.update(self.sight, self._clock.monotonic(), self._clock.wall(), quiet):
            if note.kind != "changed":
                self._log.info("version " + note.kind, version=note.version)
            self._forget_attempts(note.version)  # other bytes, or none
            if note.kind == "vanished":
                self._async_store.note("vanished", note.version, "its directory is gone")
                self._asked.pop(note.version, None)
        await self.root_notices.take(self.sight, models.root)
        self.misplaced.take(self.sight, models)
        gone = [name for name, copy in copies.items() if copy in lost]
        for name in gone:  # removed or damaged: validating again makes a new one
            entry = self.catalog.get(name)
            if entry is not None and entry.state is VersionState.ACCEPTED and entry.artifact == copies[name]:
                self._lost(entry)
        await self.verdicts.recall(self.sight)
        await self.verdicts.forget_gone({seen.name for seen in self.sight.versions})
        return said

    def _lost(self, entry: CatalogEntry) -> None:
        self._log.warning("copy lost; making it again", version=entry.name, copy=entry.artifact)
        self._async_store.note(
            "copy-lost", entry.name, "the copy that workers load is gone or damaged; it is made again"
        )
        self.catalog.forget(entry)

    # validating

    def next(self, wanted: str, live: Target | None) -> None:
        """Starts a validator on the version that is due, unless one is running.

        `wanted` comes first, then what a command requested. The version is compared with `live`.
        """
        if wanted != self._wanted:
            self._wanted = wanted
            self.at_once(wanted)
        config, now = self._config(), self._clock.monotonic()
        settle, arrive = config.models.settle, config.validation.alert_after
        for entry, unfit in self.catalog.unfit(now, settle):
            self._unfit(entry, unfit)
        if self.busy:
            return
        due = self.catalog.candidates(now, settle, arrive)
        entries = [e for name in self._asked if (e := self.catalog.get(name)) and e.state is not VersionState.REJECTED]
        self._asked = {e.name: None for e in entries}  # whatever was rejected meanwhile has its answer
        asked = [e for e in entries if e in due or e.state is VersionState.ACCEPTED]
        if not (order := [*(e for e in due if e.name == wanted), *asked, *due]):
            return
        entry = order[0]
        self._judge_now(entry, live.artifact if live is not None and live.version != entry.name else "")

    def _unfit(self, entry: CatalogEntry, unfit: Unfit) -> None:
        """It cannot be read: that is its verdict, unless the machine is at fault."""
        self._asked.pop(entry.name, None)
        if unfit.passing:
            self.catalog.wait(entry, f"{NOT_JUDGED}{unfit.because}", self._pause(entry.name, unfit.because))
        else:
            at = rfc3339(self._clock.wall())
            verdict = v.Verdict(
                False, unfit.because, (v.GateResult("layout", False, 0.0, unfit.because),), judged_at=at
            )
            self._forget_attempts(entry.name)
            self.judged += 1
            self.catalog.refuse(entry, verdict)
            self._report_verdict(entry, verdict)
        self._happened()

    def hindered(self, name: str) -> str:
        """Why the last validation of this version ended without a verdict; "" when none did or it is being
        tried again.
        """
        entry = self.catalog.get(name)
        if entry is None or name in self._asked or entry.state is not VersionState.SETTLING:
            return ""
        waits = entry.due > self._clock.monotonic()
        return entry.waiting if waits and entry.waiting.startswith((NOT_JUDGED, ARRIVING)) else ""

    def arriving(self, name: str) -> bool:
        """Whether more files of this version are expected."""
        return self.hindered(name).startswith(ARRIVING)

    def insist(self, name: str) -> None:
        """A command requests this version as it is now."""
        self.at_once(name)
        self.catalog.insist(name)

    def at_once(self, name: str) -> None:
        """A command requests this version: the pause after attempts without a verdict ends."""
        if self._hindered.pop(name, 0):
            self.catalog.hurry(name)

    async def validate_again(self, name: str) -> None:
        """Has a version validated again; drops a rejection of the same bytes.

        A version that is being validated will have that verdict.
        """
        entry = self.catalog.get(name)
        if entry is None or entry.state is VersionState.VALIDATING:
            return
        self.insist(name)
        self._asked[name] = None
        if entry.state is VersionState.REJECTED:
            self._log.info("judging again", version=name, rejected_because=entry.verdict and entry.verdict.because)
            self.catalog.forget(entry)
            await self.verdicts.forget(name)

    def undecided(self, name: str) -> bool:
        """Whether a verdict on this version, or the reason for having none, is still to come."""
        entry = self.catalog.get(name)
        if entry is None or self.hindered(name):
            return False
        return name in self._asked or entry.state in (VersionState.SEEN, VersionState.SETTLING, VersionState.VALIDATING)

    def _judge_now(self, entry: CatalogEntry, live_artifact: str) -> None:
        self._asked.pop(entry.name, None)
        entry.take(VersionEvent.JUDGING)
        entry.waiting = ""
        self._work.start("judgement", partial(self._judge, entry, live_artifact), partial(self._over, entry))

    @property
    def busy(self) -> bool:
        return self._work.busy

    def next_due(self) -> float | None:
        """When a waiting version may be validated, monotonic seconds; None while a validator runs: its end wakes the
        loop.
        """
        return None if self.busy else self.catalog.next_due()

    async def _judge(self, entry: CatalogEntry, live_artifact: str) -> None:
        name, fingerprint = entry.name, entry.seen.fingerprint
        self._log.info("validating", version=name)
        self.still_seconds = 0.0
        try:
            await self._work.remove_unfinished()
            before = await self.verdicts.signed_before(name, self._clock.wall())
            answer = await validate(
                await asyncio.to_thread(self._candidate, entry.seen, live_artifact, before),
                spawn,
                root=self._work.root,
                argv=python(MODULE),
                clock=self._clock,
                progress=lambda message: self._progress(name, message),
                copied=lambda directory, message: self._copied(entry, directory, message),
                stands=self._stands,
            )
            await self._decided(entry, fingerprint, answer)
        except (CannotStart, CannotKeep, OSError) as e:
            self._again(entry, str(e))
        except Exception as e:
            self._again(entry, f"{BROKE}: {broken(e)}")
            raise

    def _over(self, entry: CatalogEntry, task: asyncio.Task[None]) -> None:
        """The validation ended in some way: no version stays in that state."""
        self.copy = None
        if self.catalog.get(entry.name) is entry and entry.state is VersionState.VALIDATING and not task.cancelled():
            self._again(entry, BROKE)
        self._happened()

    def _copied(self, entry: CatalogEntry, directory: Path, message: Copied) -> None:
        if is_digest(message.digest) and entry.state is VersionState.VALIDATING:
            self.copy = WantedForm(entry.name, message.digest, copy=str(directory), bytes=message.bytes)
            self._happened()

    def _candidate(self, seen: VersionSeen, live_artifact: str, before: SignedBefore) -> Candidate:
        """The request for the validator. On a thread: it reads the machine's figures."""
        config = self._config()
        return candidate(
            config,
            config.models.root / seen.within / seen.name,
            live_artifact,
            capacity=capacity(),
            available_bytes=available_bytes(),
            now_seconds=self._clock.wall(),
            passed_over=tuple(name for name, _ in seen.misplaced),
            sequence_floor=before.sequence,
            accepted_before=before.digests,
            vouched_sums=before.vouched_sums,
        )

    def _stands(self, still_seconds: float) -> None:
        self.still_seconds = still_seconds

    def _again(self, entry: CatalogEntry, because: str) -> None:
        """There is no verdict, and the version is not at fault: it is validated again after a pause, which grows."""
        if self.catalog.get(entry.name) is not entry:
            return  # it is gone: nothing is remembered of it
        self.catalog.interrupted(entry, f"{NOT_JUDGED}{because}", self._pause(entry.name, because))

    def _pause(self, name: str, because: str) -> float:
        """When a version that could not be validated is due again, monotonic seconds."""
        count = self._hindered.get(name, 0)
        pause = RETRY_SECONDS[min(count, len(RETRY_SECONDS) - 1)]
        self._hindered[name] = count + 1
        if count:
            self.unjudged[name] = because
        self._log.error("not judged yet", version=name, because=because, again_seconds=pause)
        if not count:
            self._async_store.note("not-judged", name, f"{because}; it is tried again in {pause:g} s")
        return self._clock.monotonic() + pause

    def _forget_attempts(self, name: str) -> None:
        for of_name in (self._hindered, self._changes, self.unjudged):
            of_name.pop(name, None)

    def _report_verdict(self, entry: CatalogEntry, verdict: v.Verdict) -> None:
        kind = "accepted" if verdict.accepted else "rejected"
        log = self._log.info if verdict.accepted else self._log.warning
        log(kind, version=entry.name, because=verdict.because, digest=verdict.digest)
        self._async_store.note(kind, entry.name, verdict.because, digest=verdict.digest, verdict=v.report(verdict))

    def _changing(self, entry: CatalogEntry, fingerprint: str, because: str) -> None:
        """The version changed while it was read: it is validated again soon, or after a growing pause if no scan sees a
        change.
        """
        if self.catalog.get(entry.name) is not entry:
            return
        known, count = self._changes.get(entry.name, ("", 0))
        count = count + 1 if known == fingerprint else 1
        self._changes[entry.name] = (fingerprint, count)
        if count >= CHANGES_BELIEVED:
            self._again(entry, because)
        else:
            self.catalog.interrupted(entry, because, self._clock.monotonic() + self._config().models.settle)

    async def _decided(self, entry: CatalogEntry, fingerprint: str, answer: v.Answer) -> None:
        if isinstance(answer, v.Changing):
            self._changing(entry, fingerprint, answer.because)
            return
        if isinstance(answer, v.NotJudged):
            self._again(entry, answer.because)
            return
        if self._still_arriving(entry, answer):
            return
        conditions = await asyncio.to_thread(self.verdicts.conditions)
        self._forget_attempts(entry.name)
        self.judged += 1
        if entry.state is not VersionState.VALIDATING or self.catalog.get(entry.name) is not entry:
            return  # it changed meanwhile, and is another candidate now
        await self.verdicts.remember(entry, fingerprint, answer, conditions)
        if self.catalog.decided(entry, answer):
            self._report_verdict(entry, answer)

    def _still_arriving(self, entry: CatalogEntry, answer: v.Verdict) -> bool:
        """Whether a rejection does not count yet, because files that are missing may still be copied."""
        due = quiet_at(entry.changed, entry.restless_since, self._config().validation.alert_after)
        if not answer.incomplete or entry.insisted or proves_itself(entry.seen) or self._clock.monotonic() >= due:
            return False
        self._log.info("still arriving", version=entry.name, because=answer.because)
        self.catalog.interrupted(entry, f"{ARRIVING}{answer.because}", due)
        return True

    async def reject(self, name: str, digest: str, because: str) -> None:
        """The workers proved an accepted version wrong: it is rejected until its bytes change or it is
        validated again.
        """
        entry = self.catalog.get(name)
        if entry is None or entry.verdict is None or entry.digest != digest or entry.state is not VersionState.ACCEPTED:
            return
        artifact, verdict = entry.artifact, entry.verdict
        whole, conditions = await asyncio.to_thread(lambda: (is_whole(artifact), self.verdicts.conditions()))
        if entry.artifact != artifact or self.catalog.get(name) is not entry:
            return  # other bytes by now, or gone
        if not whole:
            self._lost(entry)  # no worker could have loaded that
            return
        gates = (*verdict.gates, v.GateResult("rollout", False, 0.0, because))
        verdict = v.Verdict(False, because, gates, digest, judged_at=verdict.judged_at)
        entry.verdict = verdict
        entry.take(VersionEvent.FAILED)
        with suppress(CannotKeep):
            await self.verdicts.remember(entry, entry.seen.fingerprint, verdict, conditions)
