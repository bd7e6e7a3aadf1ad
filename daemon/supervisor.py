"""The loop: has the parts built and runs rounds of their controllers until it is to stop.

File events, signals, workers' messages and commands only wake it; the controllers decide what happens. Invariant: the
rounds go on whatever a part of the daemon raises; an error that ends the loop all the same leaves the workers serving.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import structlog

from ..worker.protocol import ReopenLogs
from .answers.events import HistoryNews
from .api.events import Hub
from .config import own_directories
from .config.credentials import with_credentials
from .config.load import Config, load_or_default
from .controllers import parts
from .controllers.assembly import (
    AlertParts,
    CommandParts,
    ServerParts,
    SharedParts,
    UpkeepParts,
    VersionParts,
    WatchParts,
    WorkerParts,
    worker_events,
)
from .controllers.closing import DRAIN_GRACE_SECONDS, Shutdown
from .controllers.idle_check import PAUSE_SECONDS
from .controllers.liveness import Liveness
from .controllers.maintenance import OWN_LOGS
from .controllers.round import Controller, Round
from .controllers.wakeups import Wakeups
from .state.async_store import AsyncStore
from .state.store import HistoryEntry, Store
from .status.snapshot import Snapshot, WorkersSeen, frozen
from .system.background import Background
from .system.clock import Clock
from .system.first_process import UNDER_INIT
from .system.service_manager import ServiceManager
from .workers.former_workers import FormerWorkers

ENDING_SECONDS = 10.0
"""The most that the end takes besides draining."""


class Supervisor:
    """One daemon. `environ` has the variables and credentials that systemd passes; nothing else is read from it.

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
        self.log = structlog.get_logger("supervisor")
        self.stopping = asyncio.Event()
        self.hub = Hub()
        self.service_manager = ServiceManager(environ, clock)
        self.async_store = AsyncStore(store, self.background.guarded("told history", self._history_added))
        self.reopen_own_logs: Callable[[Callable[[], object]], object] = lambda then: then()
        self._leave_workers = False
        self._began = clock.monotonic()
        self._former = FormerWorkers((), self._began)
        self._build()

    def _build(self) -> None:
        """The parts, in the order in which they need one another; functions reach those that come later."""
        shared = SharedParts(
            lambda: self.config,
            self.clock,
            self.environ,
            self.background,
            self.wakeups,
            self.hub,
            self.async_store,
            self.snapshot,
        )
        self.workers = workers = WorkerParts.build(
            shared,
            serving=lambda: self.versions.activation.position.serving,
            tokens=lambda: self.watches.disk_reads.tokens(),
            happened=lambda event: self.worker_events.happened(event),
            ended=lambda ended: self.worker_events.ended(ended),
        )
        self.versions = versions = VersionParts.build(shared, workers.registry)
        self.upkeep = upkeep = UpkeepParts.build(shared, workers, versions, self.reopen_logs)
        self.alerts = alerts = AlertParts.build(shared, workers, versions, upkeep.maintenance)
        self.commands = CommandParts.build(
            shared,
            workers,
            versions,
            upkeep,
            alerts,
            origin=self.origin,
            service_manager=self.service_manager,
            read=self.read_config,
            put_in_force=self._put_in_force,
            reopen_logs=self.reopen_logs,
        )
        self.servers = ServerParts.build(shared, self.commands.admin_service, alerts.alert_manager)
        self.watches = WatchParts.build(shared, workers, self.servers.api)
        self.worker_events = worker_events(shared, workers, versions, upkeep, alerts)
        self.round = Round(self._controllers(), self.clock, self.background)

    def _controllers(self) -> tuple[Controller, ...]:
        workers, versions, servers = self.workers, self.versions, self.servers
        liveness = Liveness(
            self.clock,
            self.service_manager,
            snapshot=self.snapshot,
            wakeups=self.wakeups,
            idle_check=self.watches.idle_check,
            failing=lambda: self.round.wrong(),
            sockets={"workers.sock": workers.channel, "api.sock": servers.api},
            unconfirmed=workers.settings_sync.unconfirmed,
            sentence=self.commands.admin_service.sentence,
        )
        self._workers_controller = parts.WorkersController(
            lambda: self.config,
            pool=workers.pool,
            registry=workers.registry,
            listen_socket=workers.listen_socket,
            activation=versions.activation,
            validation=versions.validation,
            former=lambda: self._former,
            looked=lambda: self.watches.disk_reads.found,
            terms=workers.terms,
            clock=self.clock,
        )
        return parts.in_order(
            workers=self._workers_controller,
            forms=versions.forms,
            check=self.watches.disk_reads.read,
            channel=workers.channel,
            api=servers.api,
            maintenance=self.upkeep.maintenance,
            jobs=self.upkeep.jobs,
            outside=(*self.alerts.outside.controllers, self.upkeep.fleet),
            series=self.alerts.series,
            uploads=self.upkeep.uploads,
            panel=servers.panel,
            liveness=liveness,
            alert_manager=self.alerts.alert_manager,
        )

    def snapshot(self) -> Snapshot:
        """The daemon as it is now."""
        workers = WorkersSeen(
            frozen(self.workers.registry.peers()),
            frozen(self.workers.pool.processes()),
            self.workers.pool.pending_starts(),
            self.workers.pool.wanted,
            self._workers_controller.because,
        )
        return Snapshot(
            self.clock.monotonic(),
            self.clock.wall(),
            self.config,
            self.versions.validation.snapshot(),
            self.versions.activation.snapshot(),
            workers,
            self.upkeep.maintenance.snapshot(),
            (self.watches.watch.state, self.watches.watch.because),
            self.async_store.problem,
            self.commands.config_reload.refused,
            self.upkeep.jobs.snapshot(),
        )

    # the loop

    async def start(self) -> None:
        """Reads the disk, opens the sockets, takes back former workers. Raises ModelwardError or OSError."""
        in_container = UNDER_INIT in self.environ
        for sentence in await asyncio.to_thread(own_directories.make, self.config, model_root=in_container):
            self.log.error(sentence)
        workers, activation, maintenance = self.workers, self.versions.activation, self.upkeep.maintenance
        alert_manager, registry = self.alerts.alert_manager, workers.registry
        registry.expected = await asyncio.to_thread(workers.pool.remembered)
        self._former = FormerWorkers(registry.expected, self._began)
        await self.versions.validation.start()
        await self.versions.forms.start()
        await self.round.controllers[0].ensure()
        await activation.start(returning=bool(registry.expected))
        if self.async_store.no_room:
            await maintenance.sweep_first()
        await alert_manager.recall()
        alert_manager.begin()
        self.async_store.note("daemon-started", "", f"pid {os.getpid()}")
        if activation.position.serving is None:
            await activation.decide()
        await maintenance.with_room(workers.channel.open)
        await workers.listen_socket.open(returning=bool(registry.expected), end_lost=workers.pool.end_lost)
        alert_manager.check()
        await self.servers.api.open()
        await self.servers.panel.open()
        self.watches.idle_check.start()

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
        """Makes `run` return soon. With `leave_workers` the workers continue, and the next daemon takes them back."""
        self._leave_workers = self._leave_workers or leave_workers
        self.stopping.set()
        self.round.end_soon()
        self.wakeups.wake()

    def fail(self, error: BaseException) -> None:
        """The loop ended by an error: the workers continue to serve, and the next daemon takes them back."""
        self._leave_workers = True
        self.log.error("the daemon ends by an error; its workers serve on", exc_info=error)

    @property
    def ending_seconds(self) -> float:
        """The most that the end takes from now on."""
        return ENDING_SECONDS - 0.2 + (self._drain_seconds or 0.0)

    @property
    def _drain_seconds(self) -> float | None:
        """The time of the workers to end, notice included; None where they continue for the next daemon."""
        return None if self._leave_workers else self.config.workers.drain_notice + self.config.workers.drain

    async def close(self) -> None:
        """Ends everything: no new clients, workers drained unless they are to be left, state written.

        Every part has its own limit, and the workers get their message before any part is waited for. Whatever
        hangs, this returns within `workers.drain_notice`, `workers.drain` and ENDING_SECONDS.
        """
        drain = self._drain_seconds
        self._workers_controller.notice_seconds = self.config.workers.drain_notice
        self._workers_controller.drain_seconds = None if drain is None else drain + DRAIN_GRACE_SECONDS
        await Shutdown(
            self.background,
            self.round.controllers,
            service_manager=self.service_manager,
            hub=self.hub,
            listen_socket=self.workers.listen_socket,
            wake_sources=(self.watches.idle_check.stop, self.watches.watch.stop),
            async_store=self.async_store,
            stop_forwarding=self.upkeep.maintenance.stop_forwarding,
        ).run(drain)

    def _until_next(self) -> float:
        """Seconds until the next round is due."""
        failing = bool(self.background.failures.current() or self.servers.panel.problem or self._former.deadline)
        latest = self.background.call(
            "idle check", partial(self.watches.idle_check.after_round, failed=failing), PAUSE_SECONDS
        )
        due, now = self.round.next_due(), self.clock.monotonic()
        return latest if due is None else min(latest, max(0.05, due - now))

    def _history_added(self, entry: HistoryEntry) -> None:
        self.alerts.alert_manager.add_history(entry)
        self.hub.tell("history", HistoryNews(entry.kind, entry.version, entry.because))

    def _put_in_force(self, config: Config) -> None:
        self.config = config

    def read_config(self) -> Config:
        """The configuration as it is on disk now, credentials included. Raises BadConfig."""
        config = with_credentials(load_or_default(self.origin, self.environ)[0], self.environ)
        self.watches.disk_reads.read_tokens_of(config)
        return config

    def reopen_logs(self) -> list[str]:
        """Reopens our own log files and every worker's by name; returns the names that will confirm it."""
        self.reopen_own_logs(
            partial(asyncio.get_running_loop().call_soon_threadsafe, self.upkeep.maintenance.reopened, OWN_LOGS)
        )
        return [OWN_LOGS, *self.workers.registry.send_all(ReopenLogs())]

    def restart_workers(self, because: str) -> None:
        """Every worker is replaced, one after another, each successor first."""
        for process in self.workers.pool.processes():
            self.workers.pool.replace(process.name, because)
        self.wakeups.wake()
