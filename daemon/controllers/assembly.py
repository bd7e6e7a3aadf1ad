"""Builds the parts of one daemon, a group at a time: workers, versions, upkeep, alerts, commands, own state.

It starts nothing and decides nothing. A part that needs a later one gets a function. Invariant: no part is handed the
supervisor.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from msgspec import Struct

from ...worker.settings import Terms
from ...worker.shared.installed_release import RELEASE
from ..api.app import application
from ..api.events import Hub
from ..api.server import AdminServer
from ..config import environment
from ..config.load import Config
from ..health import series_file
from ..health.stuck_workers import StuckWorkers
from ..models.watch import Watch
from ..panel import parts_of
from ..panel.live_feed import Feed
from ..panel.server import PanelServer
from ..state.async_store import AsyncStore
from ..status import views
from ..status.alert_inputs import failed_controllers
from ..status.metrics_export import expose_failures, expose_traffic
from ..status.snapshot import Snapshot
from ..system.background import Background
from ..system.clock import Clock
from ..system.first_process import UNDER_INIT
from ..system.peer_access import let_in, operator
from ..system.service_manager import ServiceManager
from ..system.systemd import unit
from ..upkeep.syscalls import rename_noreplace
from ..workers.channel import WorkersSocket
from ..workers.listen_socket import ListenSocket
from ..workers.peer import WorkerEvent
from ..workers.pool import Ended, WorkerPool
from ..workers.registry import WorkerRegistry
from ..workers.rollout_executor import Target
from ..workers.settings_sync import SettingsSync
from .activation import Activation
from .admin_service import AdminService
from .alerting import AlertManager
from .disk_reads import DiskReads
from .fleet import Fleet
from .form_choice import FormChoice
from .forms import Forms
from .idle_check import IdleCheck
from .jobs import JobKeeping
from .maintenance import Maintenance
from .outside import OutsideParts
from .reload import ConfigReload, restart_command
from .series_keeping import SeriesKeeping
from .uploads import VersionUploads
from .validation import Validation
from .wakeups import Wakeups
from .worker_events import WorkerEvents
from .worker_instructions import WorkerInstructions


class SharedParts(Struct, frozen=True):
    """What most parts are built with. `config` returns the configuration in force, `snapshot` the daemon as it is."""

    config: Callable[[], Config]
    clock: Clock
    environ: Mapping[str, str]
    background: Background
    wakeups: Wakeups
    hub: Hub
    async_store: AsyncStore
    snapshot: Callable[[], Snapshot]


class WorkerParts(Struct, frozen=True):
    """The worker processes, their sockets, and the `terms` that they are to run with."""

    listen_socket: ListenSocket
    registry: WorkerRegistry
    pool: WorkerPool
    settings_sync: SettingsSync
    channel: WorkersSocket
    terms: Callable[[], Terms]

    @classmethod
    def build(
        cls,
        shared: SharedParts,
        *,
        serving: Callable[[], Target | None],
        tokens: Callable[[], tuple[str, ...]],
        happened: Callable[[WorkerEvent], None],
        ended: Callable[[Ended], None],
    ) -> WorkerParts:
        """`serving` and `tokens` are what a worker that joins is given; `happened` and `ended` get what workers do."""
        guarded, runtime_dir = shared.background.guarded, shared.config().control.runtime_dir
        listen_socket = ListenSocket(lambda: shared.config().workers.listen, shared.environ)
        instructions = WorkerInstructions(shared.config, listen_socket, serving)
        registry = WorkerRegistry(
            clock=shared.clock,
            welcome=instructions.welcome,
            happened=guarded("worker events", happened),
            offered=lambda fd: listen_socket.take(fd, wanted=bool(registry.expected or pool.processes())),
            terms=instructions.terms,
            tokens=tokens,
        )
        pool = WorkerPool(
            runtime_dir=runtime_dir,
            clock=shared.clock,
            ended=guarded("worker ends", ended),
            drain=registry.drain,
            settings=instructions.settings,
        )
        registry.pool = pool
        channel: WorkersSocket = WorkersSocket(
            runtime_dir / "workers.sock", registry, lambda who: let_in(who.uid, who.gid, who.groups, channel.group)
        )
        sync = SettingsSync(registry, pool, shared.clock, instructions.terms)
        return cls(listen_socket, registry, pool, sync, channel, instructions.terms)


class VersionParts(Struct, frozen=True):
    """What validates versions, compiles them and has them served."""

    validation: Validation
    forms: Forms
    activation: Activation

    @classmethod
    def build(cls, shared: SharedParts, registry: WorkerRegistry) -> VersionParts:
        guarded, send, wake = shared.background.guarded, shared.hub.tell, shared.wakeups.wake
        validation = Validation(
            shared.config,
            clock=shared.clock,
            async_store=shared.async_store,
            happened=wake,
            progress=guarded("told gates", lambda name, message: send("gate", views.gate_news(name, message))),
        )
        forms = Forms(
            shared.config,
            clock=shared.clock,
            async_store=shared.async_store,
            happened=wake,
            pids=lambda: [peer.pid for peer in registry.peers()],
        )
        activation = Activation(
            shared.config,
            clock=shared.clock,
            async_store=shared.async_store,
            validation=validation,
            choice=FormChoice(forms, validation, shared.clock),
            registry=registry,
            happened=wake,
            progress=guarded("told rollouts", lambda rollout: send("rollout", rollout.answer())),
        )
        return cls(validation, forms, activation)


class UpkeepParts(Struct, frozen=True):
    """Disk, logs, the transcription jobs, and versions that are uploaded or that a fleet wants."""

    maintenance: Maintenance
    jobs: JobKeeping
    uploads: VersionUploads
    fleet: Fleet

    @classmethod
    def build(
        cls, shared: SharedParts, workers: WorkerParts, versions: VersionParts, reopen: Callable[[], list[str]]
    ) -> UpkeepParts:
        """`reopen` has all log files opened again, and returns the names of those that confirm it."""
        maintenance = Maintenance(
            shared.config,
            shared.clock,
            validation=versions.validation,
            forms=versions.forms,
            activation=versions.activation,
            registry=workers.registry,
            async_store=shared.async_store,
            reopen=reopen,
        )
        uploads = VersionUploads(
            shared.config,
            shared.clock,
            validation=versions.validation,
            maintenance=maintenance,
            async_store=shared.async_store,
            wakeups=shared.wakeups,
        )
        fleet = Fleet(
            shared.config,
            shared.clock,
            validation=versions.validation,
            activation=versions.activation,
            async_store=shared.async_store,
            wakeups=shared.wakeups,
            rename=rename_noreplace,
        )
        return cls(maintenance, JobKeeping(shared.config, shared.clock, maintenance.clock_trouble), uploads, fleet)


class AlertParts(Struct, frozen=True):
    """The alerts, what is sent and probed by the clock, figures of stuck workers, and the series of the charts."""

    alert_manager: AlertManager
    outside: OutsideParts
    stuck: StuckWorkers
    series: SeriesKeeping

    @classmethod
    def build(
        cls, shared: SharedParts, workers: WorkerParts, versions: VersionParts, maintenance: Maintenance
    ) -> AlertParts:
        host, failures = socket.gethostname(), shared.background.failures
        alert_manager = AlertManager(
            shared.snapshot,
            shared.config,
            shared.clock,
            shared.async_store,
            host=host,
            version=RELEASE,
            tell=shared.hub.tell,
        )
        outside = OutsideParts(
            shared.config,
            shared.clock,
            host=host,
            activation=versions.activation,
            listen_socket=workers.listen_socket,
            alert_manager=alert_manager,
            snapshot=shared.snapshot,
            async_store=shared.async_store,
        )
        stuck = StuckWorkers(shared.clock.monotonic)
        alert_manager.more += [stuck.figures, partial(failed_controllers, failures)]
        traffic = workers.registry.traffic
        alert_manager.exposed += [partial(expose_failures, failures), partial(expose_traffic, traffic)]
        series = SeriesKeeping(
            shared.config().control.state_dir / series_file.NAME,
            lambda: alert_manager.monitor.series,
            traffic,
            shared.clock,
            maintenance.clock_trouble_now,
        )
        return cls(alert_manager, outside, stuck, series)


def worker_events(
    shared: SharedParts, workers: WorkerParts, versions: VersionParts, upkeep: UpkeepParts, alerts: AlertParts
) -> WorkerEvents:
    """What passes on the events of the workers, to those parts that need them."""
    on_end = (alerts.alert_manager.worker_ended, versions.activation.executor.worker_ended, workers.registry.ended)
    return WorkerEvents(
        on_end=[shared.background.guarded("worker end", act) for act in on_end],
        stuck=alerts.stuck,
        maintenance=upkeep.maintenance,
        async_store=shared.async_store,
        hub=shared.hub,
        wake=shared.wakeups.wake,
    )


class CommandParts(Struct, frozen=True):
    """What carries out the requests of people and programs."""

    config_reload: ConfigReload
    admin_service: AdminService

    @classmethod
    def build(
        cls,
        shared: SharedParts,
        workers: WorkerParts,
        versions: VersionParts,
        upkeep: UpkeepParts,
        alerts: AlertParts,
        *,
        origin: Path | None,
        service_manager: ServiceManager,
        read: Callable[[], Config],
        put_in_force: Callable[[Config], None],
        reopen_logs: Callable[[], object],
    ) -> CommandParts:
        """`read` returns the configuration that is on the disk, and `put_in_force` replaces the one in force by it."""
        config_reload = ConfigReload(
            config=shared.config,
            read=read,
            put_in_force=put_in_force,
            sentence=lambda: admin_service.sentence(),
            restart=restart_command(unit(shared.environ), in_container=UNDER_INIT in shared.environ),
            service_manager=service_manager,
            listen_socket=workers.listen_socket,
            pool=workers.pool,
            settings_sync=workers.settings_sync,
            catalog=versions.validation.catalog,
            async_store=shared.async_store,
            check=partial(alerts.alert_manager.check, at_once=True),
            reopen_logs=reopen_logs,
            wake=shared.wakeups.wake,
        )
        admin_service = AdminService(
            origin=origin,
            environment=environment.keys(shared.environ),
            clock=shared.clock,
            snapshot=shared.snapshot,
            wakeups=shared.wakeups,
            config_reload=config_reload,
            pending=workers.settings_sync.pending,
            registry=workers.registry,
            pool=workers.pool,
            validation=versions.validation,
            activation=versions.activation,
            forms=versions.forms,
            async_store=shared.async_store,
            maintenance=upkeep.maintenance,
            alert_manager=alerts.alert_manager,
            outside=alerts.outside,
            uploads=upkeep.uploads,
            fleet=upkeep.fleet,
        )
        alerts.alert_manager.more.append(upkeep.fleet.figures)
        alerts.alert_manager.exposed.append(upkeep.fleet.expose)
        return cls(config_reload, admin_service)


class ServerParts(Struct, frozen=True):
    """What people and programs send their requests to."""

    api: AdminServer
    panel: PanelServer

    @classmethod
    def build(cls, shared: SharedParts, admin: AdminService, alert_manager: AlertManager) -> ServerParts:
        config, app = shared.config(), application(admin, shared.hub)
        path = config.control.runtime_dir / "api.sock"
        api: AdminServer = AdminServer(path, app, lambda who: let_in(who.uid, who.gid, who.groups, api.group))
        panel = PanelServer(
            config.panel,
            app,
            Feed(parts_of(admin, shared.hub)),
            shared.clock,
            state_dir=config.control.state_dir,
            operator=lambda uid: operator(uid, path),
        )
        admin.panel = panel
        alert_manager.more.append(panel.figures)
        return cls(api, panel)


class WatchParts(Struct, frozen=True):
    """What reads the model root, the daemon's own files and the machine, and wakes the rounds."""

    watch: Watch
    disk_reads: DiskReads
    idle_check: IdleCheck

    @classmethod
    def build(cls, shared: SharedParts, workers: WorkerParts, api: AdminServer) -> WatchParts:
        wake = partial(asyncio.get_running_loop().call_soon_threadsafe, shared.wakeups.wake)
        watch = Watch(shared.config().models.root, wake)
        disk_reads = DiskReads(
            shared.config,
            shared.clock,
            workers.terms,
            pool=workers.pool,
            watch=watch,
            sockets_in_place=lambda: workers.channel.in_place() and api.in_place(),
        )
        idle_check = IdleCheck(shared.config, shared.clock, shared.snapshot, disk_reads.in_place, wake)
        return cls(watch, disk_reads, idle_check)
