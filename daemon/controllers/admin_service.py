"""Implements the admin API: passes the operator's queries and commands to the parts that carry them out.

A command is accepted or refused at once; a request that waits is answered when the command is decided. Nothing here
decides what should be live: a command is one more fact for `activation_policy.decide`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Protocol

from msgspec import convert
from starlette.responses import Response

from ...worker.shared.installed_release import RELEASE
from ...worker.shared.unreadable import UNREADABLE
from ..answers.alerts import AlertsAnswer, AlertsTestAnswer, SeriesAnswer
from ..answers.commands import CommandAccepted, CommandOutcome, PanelLinkAnswer, ReloadOutcome, ValidateOutcome
from ..answers.disk import DiskAnswer, DiskProgressAnswer, SweepAnswer
from ..answers.fleet import FleetAnswer
from ..answers.history import HistoryAnswer, HistoryLine
from ..answers.logs import LogFilesAnswer, LogsAnswer, LogTailAnswer, RotateAnswer
from ..answers.rollouts import RolloutAnswer
from ..answers.status import ConfigReport, PendingKey, StatusAnswer
from ..answers.traffic import TrafficAnswer
from ..answers.uploads import UploadFile, UploadPiece, UploadReport, UploadsAnswer
from ..answers.versions import VersionReport, VersionsAnswer
from ..answers.workers import WorkersAnswer
from ..errors import NotKnown, Refused
from ..models.activation_policy import ActivationRequest
from ..models.catalog import CatalogEntry
from ..models.lifecycle import VersionState
from ..models.no_version import why_no_version
from ..models.snapshot import RootSeen
from ..state.async_store import AsyncStore
from ..state.store import HistoryEntry
from ..status import views
from ..status.snapshot import Snapshot
from ..status.unchosen_versions import unchosen_versions
from ..system.clock import Clock
from ..workers.peer import WorkerPeer
from ..workers.pool import WorkerPool
from ..workers.registry import WorkerRegistry
from .activation import Activation
from .alerting import AlertManager
from .fleet import Fleet
from .forms import Forms
from .maintenance import Maintenance
from .outside import OutsideParts
from .pending_command import PendingCommand
from .reload import ConfigReload
from .uploads import VersionUploads
from .validation import Validation
from .validation_waiters import WAIT_SECONDS, ValidationWaiters
from .wakeups import Wakeups

MAX_TYPED = 1024
"""The characters of a name that are checked."""


class PanelLinks(Protocol):
    """The panel: `problem` is why it is not open, "" while it is."""

    @property
    def problem(self) -> str: ...
    async def link(self) -> PanelLinkAnswer: ...


class AdminService:
    """Implements `api.interface.AdminInterface`; see there what each method promises. `panel` is set by its maker.

    `origin` is the path of the configuration, `environment` the keys that variables give, `pending` gives the keys
    that do not hold in every worker yet.
    """

    panel: PanelLinks

    def __init__(
        self,
        *,
        origin: Path | None,
        environment: list[str],
        clock: Clock,
        snapshot: Callable[[], Snapshot],
        wakeups: Wakeups,
        config_reload: ConfigReload,
        pending: Callable[[], list[PendingKey]],
        registry: WorkerRegistry,
        pool: WorkerPool,
        validation: Validation,
        activation: Activation,
        forms: Forms,
        async_store: AsyncStore,
        maintenance: Maintenance,
        alert_manager: AlertManager,
        outside: OutsideParts,
        uploads: VersionUploads,
        fleet: Fleet,
    ) -> None:
        self._origin, self._environment = origin, environment
        self._clock, self._snapshot, self._wakeups = clock, snapshot, wakeups
        self._config_reload, self._settings_pending = config_reload, pending
        self._registry, self._pool, self._validation, self._activation = registry, pool, validation, activation
        self._forms, self._async_store, self._maintenance = forms, async_store, maintenance
        self._alert_manager, self._outside, self._uploads = alert_manager, outside, uploads
        self._fleet, self._began = fleet, clock.monotonic()
        self._waiters = ValidationWaiters(clock, validation, activation, wakeups)

    # queries

    def alive(self) -> bool:
        return True

    def ready(self) -> bool:
        return any(peer.ready for peer in self._registry.peers())

    def status(self) -> StatusAnswer:
        seen, reload = self._snapshot(), self._config_reload
        return views.status(
            seen,
            live=self._live(),
            alerts=self._alert_manager.active(),
            disk=self._alert_manager.disk(),
            pending=self._pending(),
            panel_problem=self.panel.problem,
            heartbeat=self._outside.heartbeat.report(),
            probe=self._outside.probe.report(),
            config=ConfigReport(str(self._origin or ""), reload.generation, reload.refused, self._environment),
            release=RELEASE,
            pid=os.getpid(),
            uptime_seconds=round(seen.now - self._began, 1),
        )

    def sentence(self) -> str:
        """How things are, for one line."""
        serving, peers = self._activation.position.serving, self._registry.peers()
        ready = sum(peer.ready for peer in peers)
        what = f"serving {serving.version}" if serving else "nothing is served yet"
        return "; ".join(
            [
                what,
                f"{ready} of {len(peers)} workers ready",
                *(p.message for p in self._pending()),
                *(a.message for a in self._alert_manager.active()),
            ]
        )

    def _pending(self) -> list[PendingKey]:
        """What is configured and does not hold yet."""
        return [*self._settings_pending(), *self._config_reload.waiting()]

    def _live(self) -> str:
        """What is served, by the name that the link was last known to give it."""
        word = self._activation.position.word
        return word.name if word else ""

    def versions(self) -> VersionsAnswer:
        live, peers = self._live(), self._registry.peers()
        entries = sorted(self._validation.catalog.entries(), key=lambda e: e.name)
        unchosen, protected = unchosen_versions(self._snapshot()), self._maintenance.protected()
        versions = [self._version(e, live, peers, unchosen.get(e.name, ""), protected.get(e.name, "")) for e in entries]
        return VersionsAnswer(versions, views.ignored(self._validation.sight))

    def _version(
        self, entry: CatalogEntry, live: str, peers: Iterable[WorkerPeer], unchosen: str = "", must_stay: str = ""
    ) -> VersionReport:
        name, because = self._activation.choice.waiting
        compiled = self._forms.told(entry.name, entry.digest) if entry.artifact else {}
        waiting = because if name == entry.name else ""
        held = self._activation.held
        return views.version(
            entry,
            live=live,
            held=held,
            peers=peers,
            compiled=compiled,
            waiting=waiting,
            unchosen=unchosen,
            must_stay=must_stay,
        )

    def workers(self) -> WorkersAnswer:
        return WorkersAnswer(views.workers(self._snapshot().workers))

    def alerts(self) -> AlertsAnswer:
        return self._alert_manager.alerts()

    def series(self, span: str) -> SeriesAnswer:
        return self._alert_manager.series(span)

    def traffic(self) -> TrafficAnswer:
        return views.traffic(self._registry.traffic)

    def fleet(self) -> FleetAnswer:
        return self._fleet.answer()

    def metrics(self) -> str:
        return self._alert_manager.metrics()

    async def test_alerts(self) -> AlertsTestAnswer:
        return await self._alert_manager.notifications.send_test()

    async def mute_alerts(self, name: str, duration: object, why: str) -> CommandOutcome:
        return await self._alert_manager.silences.mute(name, duration, why)

    async def unmute_alerts(self, name: str) -> CommandOutcome:
        return await self._alert_manager.silences.unmute(name)

    async def acknowledge_alerts(self, name: str, why: str) -> CommandOutcome:
        return await self._alert_manager.silences.acknowledge(name, why)

    def rollout(self, rollout: str) -> RolloutAnswer:
        found = self._activation.rollouts.known.get(rollout)
        if found is None:
            raise NotKnown(f"cannot show rollout {rollout[:40]!r}: there is none of that name, or it is long over")
        return found.answer()

    def newest_rollout(self) -> RolloutAnswer | None:
        """The rollout under way, or the last one; None when there was none since the daemon began."""
        rollouts = self._activation.rollouts.known
        return rollouts[next(reversed(rollouts))].answer() if rollouts else None

    async def history(self, count: int, kind: str, before: int = 0) -> HistoryAnswer:
        return HistoryAnswer(
            await self._async_store.do(lambda store: [_line(e) for e in store.history(count, kind, before)])
        )

    async def panel_link(self) -> PanelLinkAnswer:
        return await self.panel.link()

    # disk and logs

    async def disk(self, progress: bool) -> DiskAnswer | DiskProgressAnswer:
        return await self._maintenance.disk(progress=progress)

    async def sweep(self, dry_run: bool) -> SweepAnswer:
        return await self._maintenance.sweep(dry_run=dry_run)

    async def rotate(self, force: bool, dry_run: bool, file: str) -> RotateAnswer:
        return await self._maintenance.rotate(force=force, dry_run=dry_run, file=file)

    async def logs(self) -> LogsAnswer:
        return await self._maintenance.logs()

    async def log(self, name: str, lines: int) -> LogTailAnswer:
        return await self._maintenance.tail(name, lines)

    async def log_files(self, name: str) -> LogFilesAnswer:
        return await self._maintenance.downloads.files(name)

    async def log_download(self, name: str, head_only: bool) -> Response:
        return await self._maintenance.downloads.begin(name, head_only=head_only)

    # uploads

    async def uploads(self) -> UploadsAnswer:
        return await self._uploads.uploads()

    async def begin_upload(self, version: str, kind: str, files: list[UploadFile]) -> UploadReport:
        return await self._uploads.begin(version, kind, files)

    async def take_piece(self, upload: str, number: int, offset: int, pieces: AsyncIterator[bytes]) -> UploadPiece:
        return await self._uploads.take(upload, number, offset, pieces)

    async def finish_upload(self, upload: str) -> CommandOutcome:
        return await self._uploads.finish(upload)

    async def drop_upload(self, upload: str) -> CommandOutcome:
        return await self._uploads.drop(upload)

    async def delete(self, version: str) -> CommandOutcome:
        return await self._uploads.delete(version)

    # commands about versions

    async def activate(self, version: str, wait: bool) -> CommandOutcome | CommandAccepted:
        await self._known(version, "activate")
        validation = self._validation
        entry = validation.catalog.get(version)
        if entry is not None and entry.state is VersionState.REJECTED:
            await validation.validate_again(version)
        validation.insist(version)
        return await self._command(ActivationRequest("activate", version), wait)

    async def rollback(self, wait: bool) -> CommandOutcome | CommandAccepted:
        serving = self._activation.position.word
        if serving is None:
            raise Refused("cannot roll back: nothing is served yet")
        rollout = self._activation.executor.current
        if rollout is not None and rollout.changes_version and not rollout.link_moved:
            # The version to leave is the one on its way in: what the operator sees coming, not what still serves.
            return await self._command(ActivationRequest("activate", serving.name), wait)
        if self._activation.position.previous is None:
            raise Refused(f"cannot roll back: no version served before; {self._still()}")
        return await self._command(ActivationRequest("rollback", serving.name), wait)

    async def _command(self, asked: ActivationRequest, wait: bool) -> CommandOutcome | CommandAccepted:
        activation = self._activation
        if activation.command is not None:
            activation.command.refuse(f"cannot {activation.command.asked.kind}: a newer command came in")
        command = activation.command = PendingCommand(asked)
        self._wakeups.wake()
        if not wait:
            what = "a rollback from" if asked.kind == "rollback" else "the activation of"
            return CommandAccepted(True, f"{what} {asked.version} is under way")
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                return CommandOutcome(True, await command.result)
        except TimeoutError as e:
            raise Refused(f"cannot tell how it ended: not decided in {WAIT_SECONDS:g} s") from e

    async def hold(self, version: str) -> CommandOutcome:
        await self._known(version, "hold")
        await self._async_store.do(lambda store: store.hold([version], "asked for by command"))
        self._activation.held[version] = "asked for by command"
        self._async_store.note("held", version, "asked for by command")
        self._wakeups.wake()
        return CommandOutcome(True, f"{version} is held: it is not chosen automatically{self._kept()}")

    async def release(self, version: str) -> CommandOutcome:
        if not await self._async_store.do(lambda store: store.release(version)):
            raise NotKnown(f"cannot release {version[:255]}: it is not held")
        self._activation.held.pop(version, None)
        self._async_store.note("released", version, "asked for by command")
        self._wakeups.wake()
        return CommandOutcome(True, f"{version} may be chosen again{self._kept()}")

    def _kept(self) -> str:
        """What a command that changes the state has to add to its answer."""
        problem = self._async_store.problem
        return f"; kept in memory alone: {problem}" if problem else ""

    async def validate(self, version: str, wait: bool) -> ValidateOutcome | CommandAccepted:
        await self._known(version, "validate")
        return await self._waiters.validate(version, wait, lambda entry: self._version(entry, self._live(), ()))

    async def _known(self, version: str, verb: str) -> None:
        """Raises NotKnown for a version that is not there. A scan first finds one that was just copied."""
        validation = self._validation
        if validation.catalog.get(version) is None:
            await validation.scan()
        if validation.catalog.get(version) is None:
            root, sight = self._snapshot().config.models.root, validation.sight
            at = sight.linked.at if isinstance(sight, RootSeen) else ""
            why = await asyncio.to_thread(why_no_version, root, at, version[:MAX_TYPED])
            raise NotKnown(f"cannot {verb} {version[:255]!r}: {why}; {self._still()}")

    def _still(self) -> str:
        return self._waiters.still()

    async def rescan(self, wait: bool) -> CommandOutcome | CommandAccepted:
        return await self._waiters.rescan(wait)

    # commands about workers and the configuration

    async def restart(self, worker: str, wait: bool) -> CommandOutcome | CommandAccepted:
        pool = self._pool
        names = [worker] if worker else [process.name for process in pool.processes()]
        attached = [p.name for p in self._registry.peers() if p.attached]
        if worker in attached:
            raise Refused(f"cannot restart {worker}: another program started it")
        if worker and not pool.replace(worker, "asked for by command"):
            raise NotKnown(f"cannot restart {worker[:64]!r}: there is no such worker")
        for name in names:
            pool.replace(name, "asked for by command")
        pool.unblock()
        self._wakeups.wake()
        if not wait:
            return CommandAccepted(True, f"{', '.join(names) or 'no worker'} will be replaced, successor first")
        await self._waiters.until(lambda: not any(pool.process(name) for name in names))
        return CommandOutcome(True, f"{', '.join(names) or 'no worker'} replaced")

    async def reload(self) -> ReloadOutcome:
        return await self._config_reload.reload()


def _line(entry: HistoryEntry) -> HistoryLine:
    """A line of history with its detail; without it where a damaged file holds something else."""
    line = {"id": entry.id, "time": entry.time, "kind": entry.kind, "version": entry.version, "because": entry.because}
    try:
        return convert(entry.detail | line, HistoryLine)
    except UNREADABLE:
        return convert(line, HistoryLine)
