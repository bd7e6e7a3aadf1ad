"""The loop: builds the parts and runs rounds of their controllers until it is told to stop.

File events, signals, workers' messages and commands only wake it; the controllers decide what happens. Invariant: the
rounds go on whatever a part of the daemon raises; an error that ends the loop all the same leaves the workers serving.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import structlog

from ..worker.protocol import ReopenLogs
from ..worker.shared.installed_release import RELEASE
from .answers.events import GateNews, HistoryNews
from .api.app import application
from .api.events import Hub
from .api.server import AdminServer
from .config import own_directories
from .config.credentials import with_credentials
from .config.load import Config, load_or_default
from .controllers import parts
from .controllers.activation import Activation
from .controllers.admin_service import AdminService
from .controllers.alerting import AlertManager
from .controllers.closing import DRAIN_GRACE_SECONDS, Shutdown
from .controllers.disk_reads import DiskReads
from .controllers.form_choice import FormChoice
from .controllers.forms import Forms
from .controllers.idle_check import PAUSE_SECONDS, IdleCheck
from .controllers.jobs import JobKeeping
from .controllers.liveness import Liveness
from .controllers.maintenance import OWN_LOGS, Maintenance
from .controllers.outside import OutsideParts
from .controllers.reload import ConfigReload, restart_command
from .controllers.round import Controller, Round
from .controllers.series_keeping import SeriesKeeping
from .controllers.uploads import VersionUploads
from .controllers.validation import Validation
from .controllers.wakeups import Wakeups
from .controllers.worker_events import WorkerEvents
from .controllers.worker_instructions import WorkerInstructions
from .health import series_file
from .health.stuck_workers import StuckWorkers
from .models.watch import Watch
from .panel import parts_of
from .panel.live_feed import Feed
from .panel.server import PanelServer
from .state.async_store import AsyncStore
from .state.store import HistoryEntry, Store
from .status.alert_inputs import failed_controllers
from .status.metrics_export import expose_failures, expose_traffic
from .status.snapshot import Snapshot, WorkersSeen, frozen
from .system.background import Background
from .system.clock import Clock
from .system.peer_access import let_in, operator
from .system.service_manager import ServiceManager
from .system.systemd import unit
from .workers.channel import WorkersSocket
from .workers.former_workers import FormerWorkers
from .workers.listen_socket import ListenSocket
from .workers.pool import WorkerPool
from .workers.registry import WorkerRegistry
from .workers.settings_sync import SettingsSync

ENDING_SECONDS = 10.0
"""What the end takes at most besides draining."""


class Supervisor:
    """One daemon. `environ` is where systemd speaks; nothing else is read from it.

    `stopping` is set once it is to end.
    """

    def __init__(
        self,
        config: Config,
        origin: Path | None,
        clock: Clock,
        environ: Mapping[str, str],
        store: Store,
        *,
        background: Callable[..., Background] = Background,
    ) -> None:
        self.config, self.origin, self.clock, self.environ = config, origin, clock, environ
        self.wakeups = Wakeups(clock)
        self.background = background(clock, happened=self.wakeups.wake)
        self.background.install()
        guarded = self.background.guarded
        self.log = structlog.get_logger("supervisor")
        self.stopping = asyncio.Event()
        self.hub = Hub()
        control = config.control
        self.listen_socket = ListenSocket(lambda: self.config.workers.listen, environ)
        self._leave_workers = False
        self._began = clock.monotonic()
        self._former = FormerWorkers((), self._began)
        instructions = WorkerInstructions(
            lambda: self.config, self.listen_socket, lambda: self.activation.position.serving
        )
        self._terms = instructions.terms
        self.service_manager = ServiceManager(environ, clock)
        self.async_store = AsyncStore(store, guarded("told history", self._told))
        self.registry = WorkerRegistry(
            clock=clock,
            welcome=instructions.welcome,
            happened=guarded("worker events", lambda event: self.worker_events.happened(event)),
            offered=self._take_listener,
            terms=self._terms,
            tokens=lambda: self.disk_reads.tokens(),
        )
        self.pool = WorkerPool(
            runtime_dir=control.runtime_dir,
            clock=clock,
            ended=guarded("worker ends", lambda ended: self.worker_events.ended(ended)),
            drain=self.registry.drain,
            settings=instructions.settings,
        )
        self.registry.pool = self.pool
        self.settings_sync = SettingsSync(self.registry, self.pool, clock, self._terms)
        self.validation = Validation(
            lambda: self.config,
            clock=clock,
            async_store=self.async_store,
            happened=self.wakeups.wake,
            progress=guarded("told gates", lambda v, message: self.hub.tell("gate", GateNews(v, message.gate))),
        )
        self.forms = Forms(
            lambda: self.config,
            clock=clock,
            async_store=self.async_store,
            happened=self.wakeups.wake,
            pids=lambda: [peer.pid for peer in self.registry.peers()],
        )
        self.activation = Activation(
            lambda: self.config,
            clock=clock,
            async_store=self.async_store,
            validation=self.validation,
            choice=FormChoice(self.forms, self.validation, clock),
            registry=self.registry,
            happened=self.wakeups.wake,
            progress=guarded("told rollouts", lambda rollout: self.hub.tell("rollout", rollout.answer())),
        )
        self.maintenance = Maintenance(
            lambda: self.config,
            clock,
            validation=self.validation,
            forms=self.forms,
            activation=self.activation,
            registry=self.registry,
            async_store=self.async_store,
            reopen=self.reopen_logs,
        )
        self.uploads = VersionUploads(
            lambda: self.config,
            clock,
            validation=self.validation,
            maintenance=self.maintenance,
            async_store=self.async_store,
            wakeups=self.wakeups,
        )
        self.jobs = JobKeeping(lambda: self.config, clock, self.maintenance.clock_trouble)
        self.alert_manager = AlertManager(
            self.snapshot,
            lambda: self.config,
            clock,
            self.async_store,
            host=socket.gethostname(),
            version=RELEASE,
            tell=self.hub.tell,
        )
        self.outside = OutsideParts(
            lambda: self.config,
            clock,
            host=socket.gethostname(),
            activation=self.activation,
            listen_socket=self.listen_socket,
            alert_manager=self.alert_manager,
            snapshot=self.snapshot,
            async_store=self.async_store,
        )
        self.config_reload = ConfigReload(
            config=lambda: self.config,
            read=self.read_config,
            put_in_force=self._put_in_force,
            sentence=lambda: self.admin_service.sentence(),
            restart=restart_command(unit(environ)),
            service_manager=self.service_manager,
            listen_socket=self.listen_socket,
            pool=self.pool,
            settings_sync=self.settings_sync,
            catalog=self.validation.catalog,
            async_store=self.async_store,
            look=partial(self.alert_manager.look, at_once=True),
            reopen_logs=self.reopen_logs,
            wake=self.wakeups.wake,
        )
        self.reopen_own_logs: Callable[[Callable[[], object]], object] = lambda then: then()
        self.admin_service = AdminService(
            origin=origin,
            clock=clock,
            snapshot=self.snapshot,
            wakeups=self.wakeups,
            config_reload=self.config_reload,
            pending=self.settings_sync.pending,
            registry=self.registry,
            pool=self.pool,
            validation=self.validation,
            activation=self.activation,
            forms=self.forms,
            async_store=self.async_store,
            maintenance=self.maintenance,
            alert_manager=self.alert_manager,
            outside=self.outside,
            uploads=self.uploads,
        )
        sockets = control.runtime_dir
        self.channel: WorkersSocket = WorkersSocket(
            sockets / "workers.sock",
            self.registry,
            lambda who: let_in(who.uid, who.gid, who.groups, self.channel.group),
        )
        api = application(self.admin_service, self.hub)
        self.api: AdminServer = AdminServer(
            sockets / "api.sock", api, lambda who: let_in(who.uid, who.gid, who.groups, self.api.group)
        )
        self.panel = PanelServer(
            config.panel,
            api,
            Feed(parts_of(self.admin_service, self.hub)),
            clock,
            state_dir=control.state_dir,
            operator=lambda uid: operator(uid, sockets / "api.sock"),
        )
        self.admin_service.panel = self.panel
        told = (self.alert_manager.worker_ended, self.activation.executor.worker_ended, self.registry.ended)
        stuck = StuckWorkers(clock.monotonic)
        self.worker_events = WorkerEvents(
            on_end=[guarded("worker end", tell) for tell in told],
            stuck=stuck,
            maintenance=self.maintenance,
            async_store=self.async_store,
            hub=self.hub,
            wake=self.wakeups.wake,
        )
        failures = self.background.failures
        self.alert_manager.more += [self.panel.figures, stuck.figures, partial(failed_controllers, failures)]
        self.alert_manager.exposed += [
            partial(expose_failures, failures),
            partial(expose_traffic, self.registry.traffic),
        ]
        wake = partial(asyncio.get_running_loop().call_soon_threadsafe, self.wakeups.wake)
        self.watch = Watch(config.models.root, wake)
        self.disk_reads = DiskReads(
            lambda: self.config,
            clock,
            self._terms,
            pool=self.pool,
            watch=self.watch,
            sockets_in_place=lambda: self.channel.in_place() and self.api.in_place(),
        )
        self.idle_check = IdleCheck(lambda: self.config, clock, self.snapshot, self.disk_reads.in_place, wake)
        self.liveness = Liveness(
            clock,
            self.service_manager,
            snapshot=self.snapshot,
            wakeups=self.wakeups,
            idle_check=self.idle_check,
            failing=lambda: self.round.wrong(),
            sockets={"workers.sock": self.channel, "api.sock": self.api},
            unconfirmed=self.settings_sync.unconfirmed,
            sentence=self.admin_service.sentence,
        )
        self.round = Round(self._controllers(), clock, self.background)

    def _controllers(self) -> tuple[Controller, ...]:
        self._workers = parts.WorkersController(
            lambda: self.config,
            pool=self.pool,
            registry=self.registry,
            listen_socket=self.listen_socket,
            activation=self.activation,
            validation=self.validation,
            former=lambda: self._former,
            looked=lambda: self.disk_reads.found,
            terms=self._terms,
            clock=self.clock,
        )
        return parts.in_order(
            workers=self._workers,
            forms=self.forms,
            check=self.disk_reads.look,
            channel=self.channel,
            api=self.api,
            maintenance=self.maintenance,
            jobs=self.jobs,
            outside=self.outside.controllers,
            series=SeriesKeeping(
                self.config.control.state_dir / series_file.NAME,
                lambda: self.alert_manager.monitor.series,
                self.registry.traffic,
                self.clock,
            ),
            uploads=self.uploads,
            panel=self.panel,
            liveness=self.liveness,
            alert_manager=self.alert_manager,
        )

    def snapshot(self) -> Snapshot:
        """The daemon as it is now."""
        workers = WorkersSeen(
            frozen(self.registry.peers()),
            frozen(self.pool.processes()),
            self.pool.pending_starts(),
            self.pool.wanted,
            self._workers.because,
        )
        return Snapshot(
            self.clock.monotonic(),
            self.clock.wall(),
            self.config,
            self.validation.snapshot(),
            self.activation.snapshot(),
            workers,
            self.maintenance.snapshot(),
            (self.watch.state, self.watch.because),
            self.async_store.problem,
            self.config_reload.refused,
            self.jobs.snapshot(),
        )

    # the loop

    async def start(self) -> None:
        """Opens the sockets, finds what there is, takes former workers back. Raises ModelwardError or OSError."""
        for sentence in await asyncio.to_thread(own_directories.make, self.config):
            self.log.error(sentence)
        self.registry.expected = await asyncio.to_thread(self.pool.remembered)
        self._former = FormerWorkers(self.registry.expected, self._began)
        await self.validation.start()
        await self.forms.start()
        await self.round.controllers[0].ensure()
        await self.activation.start(returning=bool(self.registry.expected))
        if self.async_store.no_room:
            await self.maintenance.sweep_first()
        await self.alert_manager.recall()
        self.alert_manager.begin()
        self.async_store.note("daemon-started", "", f"pid {os.getpid()}")
        if self.activation.position.serving is None:
            await self.activation.decide()
        await self.maintenance.with_room(self.channel.open)
        await self.listen_socket.open(returning=bool(self.registry.expected), end_lost=self.pool.end_lost)
        self.alert_manager.look()
        await self.api.open()
        await self.panel.open()
        self.idle_check.start()

    async def step(self) -> None:
        """One round."""
        await self.round.run()

    async def run(self) -> None:
        """Rounds until `stop`."""
        while not self.stopping.is_set():
            self.wakeups.begin()
            await self.step()
            self.wakeups.end()
            await self.wakeups.woken(self._until_next())

    def stop(self, *, leave_workers: bool = False) -> None:
        """`run` returns soon. `leave_workers`: they serve on, for the next daemon to take back."""
        self._leave_workers = self._leave_workers or leave_workers
        self.stopping.set()
        self.round.end_soon()
        self.wakeups.wake()

    def fail(self, error: BaseException) -> None:
        """The loop ended by an error: the workers serve on, for the next daemon to take back."""
        self._leave_workers = True
        self.log.error("the daemon ends by an error; its workers serve on", exc_info=error)

    @property
    def ending_seconds(self) -> float:
        """What the end takes at most from now on."""
        return ENDING_SECONDS - 0.2 + (0.0 if self._leave_workers else self.config.workers.drain)

    async def close(self) -> None:
        """Ends everything: no new clients, workers drained unless they are to be left, state written.

        Every part has its own limit, and the workers are told before any part is waited for: whatever hangs, this
        returns within `workers.drain` and ENDING_SECONDS.
        """
        drain = None if self._leave_workers else self.config.workers.drain
        self._workers.drain_seconds = None if drain is None else drain + DRAIN_GRACE_SECONDS
        await Shutdown(
            self.background,
            self.round.controllers,
            service_manager=self.service_manager,
            hub=self.hub,
            listen_socket=self.listen_socket,
            wake_sources=(self.idle_check.stop, self.watch.stop),
            async_store=self.async_store,
        ).run(drain)

    def _until_next(self) -> float:
        """Seconds until the next round is due."""
        failing = bool(self.background.failures.current() or self.panel.problem or self._former.deadline)
        latest = self.background.call("idle check", partial(self.idle_check.after_round, failed=failing), PAUSE_SECONDS)
        due, now = self.round.next_due(), self.clock.monotonic()
        return latest if due is None else min(latest, max(0.05, due - now))

    def _take_listener(self, fd: int) -> None:
        self.listen_socket.take(fd, wanted=bool(self.registry.expected or self.pool.processes()))

    def _told(self, entry: HistoryEntry) -> None:
        self.alert_manager.heard(entry)
        self.hub.tell("history", HistoryNews(entry.kind, entry.version, entry.because))

    def _put_in_force(self, config: Config) -> None:
        self.config = config

    def read_config(self) -> Config:
        """The configuration as it is on disk now, credentials included. Raises BadConfig."""
        config = with_credentials(load_or_default(self.origin)[0], self.environ)
        self.disk_reads.read_tokens_of(config)
        return config

    def reopen_logs(self) -> list[str]:
        """Reopens our own log files and every worker's by name; returns who will confirm it."""
        self.reopen_own_logs(
            partial(asyncio.get_running_loop().call_soon_threadsafe, self.maintenance.reopened, OWN_LOGS)
        )
        return [OWN_LOGS, *self.registry.send_all(ReopenLogs())]

    def restart_workers(self, because: str) -> None:
        """Every worker is replaced, one after another, each successor first."""
        for process in self.pool.processes():
            self.pool.replace(process.name, because)
        self.wakeups.wake()
