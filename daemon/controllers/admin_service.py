"""Answers the operator: the admin API's questions and wishes, carried to the parts that fulfil them.

A wish is taken up or refused at once; whoever waits is answered when the matter is decided. Nothing here decides what
should be live: a command is one more fact for `activation_policy.decide`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from ...worker.shared.installed_release import RELEASE
from ..config.load import Config
from ..errors import NotKnown, Refused
from ..models.activation_policy import ActivationRequest
from ..models.catalog import CatalogEntry
from ..models.lifecycle import VersionState
from ..models.watch import Watch
from ..state.async_store import AsyncStore
from ..status import views
from ..status.snapshot import Snapshot
from ..system.clock import Clock
from ..system.service_manager import ServiceManager
from ..workers.listen_socket import ListenSocket
from ..workers.peer import WorkerPeer
from ..workers.pool import WorkerPool
from ..workers.registry import WorkerRegistry
from ..workers.settings_sync import SettingsSync
from .activation import Activation
from .alerting import AlertManager
from .forms import Forms
from .maintenance import Maintenance
from .pending_command import PendingCommand
from .reload import ConfigReload
from .validation import Validation
from .validation_waiters import WAIT_SECONDS, ValidationWaiters

Json = dict[str, Any]


class HasProblem(Protocol):
    """A part that may be missing: `problem` says why, "" while all is well."""

    @property
    def problem(self) -> str: ...


class PanelPart(HasProblem, Protocol):
    """The panel, which may be missing."""

    async def link(self) -> Json: ...


class AdminServiceParts(Protocol):
    """The parts that a wish may need, and the two ways to reach the loop."""

    config: Config
    origin: Path | None
    clock: Clock
    environ: Mapping[str, str]
    registry: WorkerRegistry
    pool: WorkerPool
    settings_sync: SettingsSync
    listen_socket: ListenSocket
    activation: Activation
    validation: Validation
    forms: Forms
    async_store: AsyncStore
    maintenance: Maintenance
    watch: Watch
    manager: ServiceManager
    alert_manager: AlertManager
    log: Any

    @property
    def staff_because(self) -> str: ...
    @property
    def panel(self) -> PanelPart: ...
    @property
    def deciding(self) -> bool: ...

    def read_config(self) -> Config: ...
    def snapshot(self) -> Snapshot: ...
    def wake(self) -> None: ...
    async def next_round(self, seconds: float) -> None: ...
    def reopen_logs(self) -> list[str]: ...


class AdminService:
    """The desk behind the admin API; see api.desk for what each method promises."""

    def __init__(self, daemon: AdminServiceParts) -> None:
        self._s = daemon
        self._began = daemon.clock.monotonic()
        self.reloading = ConfigReload(daemon, self.sentence)
        self._requests = ValidationWaiters(daemon)
        self.reopen_own_logs: Callable[[Callable[[], object]], object] = lambda then: then()

    # questions

    def alive(self) -> bool:
        return True

    def ready(self) -> bool:
        return any(peer.ready for peer in self._s.registry.peers())

    def status(self) -> Json:
        s, seen = self._s, self._s.snapshot()
        rollout = seen.activation.current
        shapes = views.workers(seen.workers)
        alerts = s.alert_manager.active()
        serving = s.activation.position.serving
        return {
            "live": self._live(),
            "link": views.link(seen.versions, self._live()),
            "serving": serving.version if serving else "",
            "ready": self.ready(),
            "state": "ready" if self.ready() else "nothing is served" if serving is None else "loading",
            "workers": {
                "ready": sum(w["state"] == "ready" for w in shapes),
                "total": len(shapes),
                "wanted": s.pool.wanted,
                "because": s.staff_because,
            },
            "pending": self._pending(),
            "rollout": rollout.as_json() if rollout else None,
            "waiting": dict(zip(("version", "because"), s.activation.choice.waiting, strict=True))
            if s.activation.choice.waiting[0]
            else None,
            "disk": s.alert_manager.disk(),
            "alerts": alerts,
            "watch": {"state": s.watch.state, "because": s.watch.because},
            "panel": {"listen": s.config.panel.listen, "problem": s.panel.problem},
            "version": RELEASE,
            "pid": os.getpid(),
            "uptime_seconds": round(s.clock.monotonic() - self._began, 1),
            "config": {
                "path": str(s.origin or ""),
                "generation": self.reloading.generation,
                "rejected": self.reloading.refused,
            },
        }

    def sentence(self) -> str:
        """How things are, for one line."""
        serving, peers = self._s.activation.position.serving, self._s.registry.peers()
        ready = sum(peer.ready for peer in peers)
        what = f"serving {serving.version}" if serving else "nothing is served yet"
        return "; ".join(
            [
                what,
                f"{ready} of {len(peers)} workers ready",
                *(p["message"] for p in self._pending()),
                *(a["message"] for a in self._s.alert_manager.active()),
            ]
        )

    def _pending(self) -> list[Json]:
        """What is configured and does not hold yet."""
        return [*self._s.settings_sync.pending(), *self.reloading.waiting()]

    def _live(self) -> str:
        """What is served, by the name that the link was last known to give it."""
        word = self._s.activation.position.word
        return word.name if word else ""

    def versions(self) -> Json:
        s = self._s
        live, peers = self._live(), s.registry.peers()
        entries = sorted(s.validation.catalog.entries(), key=lambda e: e.name)
        versions = [self._version(e, live, peers) for e in entries]
        return {"versions": versions, "ignored": views.ignored(s.validation.sight)}

    def _version(self, entry: CatalogEntry, live: str, peers: Iterable[WorkerPeer]) -> Json:
        name, because = self._s.activation.choice.waiting
        compiled = self._s.forms.told(entry.name, entry.digest) if entry.artifact else {}
        waiting = because if name == entry.name else ""
        held = self._s.activation.held
        return views.version(entry, live=live, held=held, peers=peers, compiled=compiled, waiting=waiting)

    def workers(self) -> Json:
        return {"workers": views.workers(self._s.snapshot().workers)}

    def alerts(self) -> Json:
        return self._s.alert_manager.alerts()

    def series(self) -> Json:
        return self._s.alert_manager.series()

    def metrics(self) -> str:
        return self._s.alert_manager.metrics()

    async def test_alerts(self) -> Json:
        return await self._s.alert_manager.test()

    def rollout(self, rollout: str) -> Json:
        found = self._s.activation.rollouts.get(rollout)
        if found is None:
            raise NotKnown(f"cannot show rollout {rollout[:40]!r}: there is none of that name, or it is long over")
        return found.as_json()

    def newest_rollout(self) -> Json:
        """The rollout under way, or the last one; {} when there was none since the daemon began."""
        rollouts = self._s.activation.rollouts
        return rollouts[next(reversed(rollouts))].as_json() if rollouts else {}

    async def history(self, count: int, kind: str, before: int = 0) -> Json:
        entries = await self._s.async_store.do(lambda store: store.history(count, kind, before))
        return {
            "history": [
                {"id": e.id, "time": e.time, "kind": e.kind, "version": e.version, "because": e.because} | e.detail
                for e in entries
            ]
        }

    async def panel_link(self) -> Json:
        return await self._s.panel.link()

    # disk and logs

    async def disk(self, progress: bool) -> Json:
        return await self._s.maintenance.disk(progress=progress)

    async def sweep(self, dry_run: bool) -> Json:
        return await self._s.maintenance.sweep(dry_run=dry_run)

    async def rotate(self, force: bool, dry_run: bool, file: str) -> Json:
        return await self._s.maintenance.rotate(force=force, dry_run=dry_run, file=file)

    async def logs(self) -> Json:
        return await self._s.maintenance.logs()

    async def log(self, name: str, lines: int) -> Json:
        return await self._s.maintenance.tail(name, lines)

    # wishes about versions

    async def activate(self, version: str, wait: bool) -> Json:
        await self._known(version, "activate")
        validation = self._s.validation
        entry = validation.catalog.get(version)
        if entry is not None and entry.state is VersionState.REJECTED:
            await validation.ask(version)
        validation.at_once(version)
        return await self._command(ActivationRequest("activate", version), wait)

    async def rollback(self, wait: bool) -> Json:
        serving = self._s.activation.position.word
        if serving is None:
            raise Refused("cannot roll back: nothing is served yet")
        rollout = self._s.activation.executor.current
        if rollout is not None and rollout.changes_version and not rollout.link_moved:
            # The version to leave is the one on its way in: what the operator sees coming, not what still serves.
            return await self._command(ActivationRequest("activate", serving.name), wait)
        if self._s.activation.position.previous is None:
            raise Refused(f"cannot roll back: no version served before; {self._still()}")
        return await self._command(ActivationRequest("rollback", serving.name), wait)

    async def _command(self, asked: ActivationRequest, wait: bool) -> Json:
        activation = self._s.activation
        if activation.command is not None:
            activation.command.refuse(f"cannot {activation.command.asked.kind}: a newer command came in")
        command = activation.command = PendingCommand(asked)
        self._s.wake()
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
        await self._s.async_store.do(lambda store: store.hold([version], "asked for by command"))
        self._s.activation.held[version] = "asked for by command"
        self._s.async_store.note("held", version, "asked for by command")
        self._s.wake()
        return {"success": True, "message": f"{version} is held: it is not chosen automatically{self._kept()}"}

    async def release(self, version: str) -> Json:
        if not await self._s.async_store.do(lambda store: store.release(version)):
            raise NotKnown(f"cannot release {version[:255]}: it is not held")
        self._s.activation.held.pop(version, None)
        self._s.async_store.note("released", version, "asked for by command")
        self._s.wake()
        return {"success": True, "message": f"{version} may be chosen again{self._kept()}"}

    def _kept(self) -> str:
        """What a command that changes the state has to add to its answer."""
        problem = self._s.async_store.problem
        return f"; kept in memory alone: {problem}" if problem else ""

    async def validate(self, version: str, wait: bool) -> Json:
        await self._known(version, "validate")
        return await self._requests.validate(version, wait, self._shape)

    def _shape(self, version: str) -> Json:
        entry = self._s.validation.catalog.get(version)
        return self._version(entry, self._live(), ()) if entry else {}

    async def _known(self, version: str, verb: str) -> None:
        """Raises NotKnown for what is not there; one that was put there just now, before the daemon looked, is."""
        validation = self._s.validation
        if validation.catalog.get(version) is None:
            await validation.look()
        if validation.catalog.get(version) is None:
            raise NotKnown(f"cannot {verb} {version[:255]!r}: there is no such version; {self._still()}")

    def _still(self) -> str:
        return self._requests.still()

    async def rescan(self, wait: bool) -> Json:
        return await self._requests.rescan(wait)

    # wishes about workers and the configuration

    async def restart(self, worker: str, wait: bool) -> Json:
        pool = self._s.pool
        names = [worker] if worker else [process.name for process in pool.processes()]
        attached = [p.name for p in self._s.registry.peers() if p.attached]
        if worker in attached:
            raise Refused(f"cannot restart {worker}: another program started it")
        if worker and not pool.replace(worker, "asked for by command"):
            raise NotKnown(f"cannot restart {worker[:64]!r}: there is no such worker")
        for name in names:
            pool.replace(name, "asked for by command")
        pool.unblock()
        self._s.wake()
        if not wait:
            return {"accepted": True, "message": f"{', '.join(names) or 'no worker'} will be replaced, successor first"}
        await self._requests.until(lambda: not any(pool.process(name) for name in names))
        return {"success": True, "message": f"{', '.join(names) or 'no worker'} replaced"}

    async def reload(self) -> Json:
        return await self.reloading.reload()
