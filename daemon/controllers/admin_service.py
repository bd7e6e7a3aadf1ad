"""Implements the admin API: passes the operator's queries and commands to the parts that carry them out.

A command is accepted or refused at once; a request that waits is answered when the command is decided. Nothing here
decides what should be live: a command is one more fact for `activation_policy.decide`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol

from ...worker.shared.installed_release import RELEASE
from ..errors import NotKnown, Refused
from ..models.activation_policy import ActivationRequest
from ..models.catalog import CatalogEntry
from ..models.lifecycle import VersionState
from ..state.async_store import AsyncStore
from ..status import views
from ..status.snapshot import Snapshot
from ..system.clock import Clock
from ..workers.peer import WorkerPeer
from ..workers.pool import WorkerPool
from ..workers.registry import WorkerRegistry
from .activation import Activation
from .alerting import AlertManager
from .forms import Forms
from .maintenance import Maintenance
from .pending_command import PendingCommand
from .reload import ConfigReload
from .validation import Validation
from .validation_waiters import WAIT_SECONDS, ValidationWaiters
from .wakeups import Wakeups

Json = dict[str, Any]


class PanelLinks(Protocol):
    """The panel: `problem` says why it is not open, "" while it is."""

    @property
    def problem(self) -> str: ...
    async def link(self) -> Json: ...


class AdminService:
    """Implements `api.interface.AdminInterface`; see there what each method promises. `panel` is set by its maker.

    `origin` is the path of the configuration, `pending` gives the keys that do not hold in every worker yet.
    """

    panel: PanelLinks

    def __init__(
        self,
        *,
        origin: Path | None,
        clock: Clock,
        snapshot: Callable[[], Snapshot],
        wakeups: Wakeups,
        config_reload: ConfigReload,
        pending: Callable[[], list[Json]],
        registry: WorkerRegistry,
        pool: WorkerPool,
        validation: Validation,
        activation: Activation,
        forms: Forms,
        async_store: AsyncStore,
        maintenance: Maintenance,
        alert_manager: AlertManager,
    ) -> None:
        self._origin, self._clock, self._snapshot, self._wakeups = origin, clock, snapshot, wakeups
        self._config_reload, self._settings_pending = config_reload, pending
        self._registry, self._pool, self._validation, self._activation = registry, pool, validation, activation
        self._forms, self._async_store, self._maintenance = forms, async_store, maintenance
        self._alert_manager = alert_manager
        self._began = clock.monotonic()
        self._waiters = ValidationWaiters(clock, validation, activation, wakeups)

    # queries

    def alive(self) -> bool:
        return True

    def ready(self) -> bool:
        return any(peer.ready for peer in self._registry.peers())

    def status(self) -> Json:
        seen, reload = self._snapshot(), self._config_reload
        return views.status(
            seen,
            live=self._live(),
            alerts=self._alert_manager.active(),
            disk=self._alert_manager.disk(),
            pending=self._pending(),
            panel_problem=self.panel.problem,
            config={"path": str(self._origin or ""), "generation": reload.generation, "rejected": reload.refused},
            process={"version": RELEASE, "pid": os.getpid(), "uptime_seconds": round(seen.now - self._began, 1)},
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
                *(p["message"] for p in self._pending()),
                *(a["message"] for a in self._alert_manager.active()),
            ]
        )

    def _pending(self) -> list[Json]:
        """What is configured and does not hold yet."""
        return [*self._settings_pending(), *self._config_reload.waiting()]

    def _live(self) -> str:
        """What is served, by the name that the link was last known to give it."""
        word = self._activation.position.word
        return word.name if word else ""

    def versions(self) -> Json:
        live, peers = self._live(), self._registry.peers()
        entries = sorted(self._validation.catalog.entries(), key=lambda e: e.name)
        versions = [self._version(e, live, peers) for e in entries]
        return {"versions": versions, "ignored": views.ignored(self._validation.sight)}

    def _version(self, entry: CatalogEntry, live: str, peers: Iterable[WorkerPeer]) -> Json:
        name, because = self._activation.choice.waiting
        compiled = self._forms.told(entry.name, entry.digest) if entry.artifact else {}
        waiting = because if name == entry.name else ""
        held = self._activation.held
        return views.version(entry, live=live, held=held, peers=peers, compiled=compiled, waiting=waiting)

    def workers(self) -> Json:
        return {"workers": views.workers(self._snapshot().workers)}

    def alerts(self) -> Json:
        return self._alert_manager.alerts()

    def series(self) -> Json:
        return self._alert_manager.series()

    def metrics(self) -> str:
        return self._alert_manager.metrics()

    async def test_alerts(self) -> Json:
        return await self._alert_manager.test()

    def rollout(self, rollout: str) -> Json:
        found = self._activation.rollouts.known.get(rollout)
        if found is None:
            raise NotKnown(f"cannot show rollout {rollout[:40]!r}: there is none of that name, or it is long over")
        return found.as_json()

    def newest_rollout(self) -> Json:
        """The rollout under way, or the last one; {} when there was none since the daemon began."""
        rollouts = self._activation.rollouts.known
        return rollouts[next(reversed(rollouts))].as_json() if rollouts else {}

    async def history(self, count: int, kind: str, before: int = 0) -> Json:
        entries = await self._async_store.do(lambda store: store.history(count, kind, before))
        return {
            "history": [
                {"id": e.id, "time": e.time, "kind": e.kind, "version": e.version, "because": e.because} | e.detail
                for e in entries
            ]
        }

    async def panel_link(self) -> Json:
        return await self.panel.link()

    # disk and logs

    async def disk(self, progress: bool) -> Json:
        return await self._maintenance.disk(progress=progress)

    async def sweep(self, dry_run: bool) -> Json:
        return await self._maintenance.sweep(dry_run=dry_run)

    async def rotate(self, force: bool, dry_run: bool, file: str) -> Json:
        return await self._maintenance.rotate(force=force, dry_run=dry_run, file=file)

    async def logs(self) -> Json:
        return await self._maintenance.logs()

    async def log(self, name: str, lines: int) -> Json:
        return await self._maintenance.tail(name, lines)

    # commands about versions

    async def activate(self, version: str, wait: bool) -> Json:
        await self._known(version, "activate")
        validation = self._validation
        entry = validation.catalog.get(version)
        if entry is not None and entry.state is VersionState.REJECTED:
            await validation.ask(version)
        validation.at_once(version)
        return await self._command(ActivationRequest("activate", version), wait)

    async def rollback(self, wait: bool) -> Json:
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

    async def _command(self, asked: ActivationRequest, wait: bool) -> Json:
        activation = self._activation
        if activation.command is not None:
            activation.command.refuse(f"cannot {activation.command.asked.kind}: a newer command came in")
        command = activation.command = PendingCommand(asked)
        self._wakeups.wake()
        if not wait:
            what = "a rollback from" if asked.kind == "rollback" else "the activation of"
            return {"accepted": True, "message": f"{what} {asked.version} is under way"}
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                return {"success": True, "message": await command.result}
        except TimeoutError as e:
            raise Refused(f"cannot tell how it ended: not decided in {WAIT_SECONDS:g} s") from e

    async def hold(self, version: str) -> Json:
        await self._known(version, "hold")
        await self._async_store.do(lambda store: store.hold([version], "asked for by command"))
        self._activation.held[version] = "asked for by command"
        self._async_store.note("held", version, "asked for by command")
        self._wakeups.wake()
        return {"success": True, "message": f"{version} is held: it is not chosen automatically{self._kept()}"}

    async def release(self, version: str) -> Json:
        if not await self._async_store.do(lambda store: store.release(version)):
            raise NotKnown(f"cannot release {version[:255]}: it is not held")
        self._activation.held.pop(version, None)
        self._async_store.note("released", version, "asked for by command")
        self._wakeups.wake()
        return {"success": True, "message": f"{version} may be chosen again{self._kept()}"}

    def _kept(self) -> str:
        """What a command that changes the state has to add to its answer."""
        problem = self._async_store.problem
        return f"; kept in memory alone: {problem}" if problem else ""

    async def validate(self, version: str, wait: bool) -> Json:
        await self._known(version, "validate")
        return await self._waiters.validate(version, wait, self._shape)

    def _shape(self, version: str) -> Json:
        entry = self._validation.catalog.get(version)
        return self._version(entry, self._live(), ()) if entry else {}

    async def _known(self, version: str, verb: str) -> None:
        """Raises NotKnown for what is not there; one that was put there just now, before the daemon looked, is."""
        validation = self._validation
        if validation.catalog.get(version) is None:
            await validation.look()
        if validation.catalog.get(version) is None:
            raise NotKnown(f"cannot {verb} {version[:255]!r}: there is no such version; {self._still()}")

    def _still(self) -> str:
        return self._waiters.still()

    async def rescan(self, wait: bool) -> Json:
        return await self._waiters.rescan(wait)

    # commands about workers and the configuration

    async def restart(self, worker: str, wait: bool) -> Json:
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
            return {"accepted": True, "message": f"{', '.join(names) or 'no worker'} will be replaced, successor first"}
        await self._waiters.until(lambda: not any(pool.process(name) for name in names))
        return {"success": True, "message": f"{', '.join(names) or 'no worker'} replaced"}

    async def reload(self) -> Json:
        return await self._config_reload.reload()
