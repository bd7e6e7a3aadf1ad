"""The loop: builds the parts, and runs round after round of their controllers until it is told to stop.

File events, signals, workers' messages and commands only wake it. What a controller does is its own matter. Invariant:
whatever a part of the daemon raises, the rounds go on; an error that ends the loop all the same leaves the workers
serving.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import structlog

from ..worker.protocol import ReopenLogs, WorkerSettings
from ..worker.settings import Terms
from ..worker.shared.installed_release import RELEASE
from ..worker.shared.worker_directories import identities, places_of
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
from .controllers.closing import Step, together
from .controllers.form_choice import FormChoice
from .controllers.forms import Forms
from .controllers.idle_check import PAUSE_SECONDS, IdleCheck
from .controllers.liveness import Liveness
from .controllers.maintenance import OWN_LOGS, Maintenance
from .controllers.reload import ConfigReload, restart_command
from .controllers.round import Controller, Round
from .controllers.validation import Validation
from .controllers.wakeups import Wakeups
from .health.stuck_workers import StuckWorkers
from .models.watch import Watch
from .panel import parts_of
from .panel.live_feed import Feed
from .panel.server import PanelServer
from .state.async_store import AsyncStore
from .state.store import HistoryEntry, Store
from .status.alert_inputs import failed_controllers
from .status.metrics_export import expose_failures
from .status.snapshot import Snapshot, WorkersSeen, frozen
from .system.available_memory import capacity
from .system.background import Background
from .system.capacity import Capacity
from .system.clock import Clock
from .system.peer_access import let_in, operator
from .system.service_manager import ServiceManager
from .system.systemd import unit
from .system.unix_socket import Credentials
from .workers import slot_files
from .workers.channel import WorkersSocket
from .workers.former_workers import FormerWorkers
from .workers.listen_socket import ListenSocket
from .workers.peer import WorkerEvent
from .workers.pool import KILLED_SECONDS, Ended, WorkerPool
from .workers.registry import WelcomeState, WorkerRegistry
from .workers.replacement import Places
from .workers.settings_of_config import settings_of, shared_dir, terms_of
from .workers.settings_sync import SettingsSync
from .workers.token_digests import TokenMarks, told_tokens

SLOWEST_BEAT_SECONDS = 5.0
CLOSING_SECONDS = 20.0  # what the service manager gives the end besides draining
ENDING_SECONDS = 10.0
"""What the end takes at most besides draining."""
DRAIN_GRACE_SECONDS = 2.0
"""What workers get beyond their time to drain, before they are killed."""
PART_SECONDS = 3.0
"""What each part of the daemon gets to end."""


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
        self._looked = parts.Looked(Capacity(1), Places())
        self._tokens = self._tokens_read = TokenMarks()
        self._began = clock.monotonic()
        self._former = FormerWorkers((), self._began)
        self.service_manager = ServiceManager(environ, clock)
        self.async_store = AsyncStore(store, guarded("told history", self._told))
        self.registry = WorkerRegistry(
            clock=clock,
            welcome=self._welcome,
            happened=guarded("worker events", self._happened),
            offered=self._take_listener,
            terms=self._terms,
            tokens=self._tokens_to_tell,
        )
        self.pool = WorkerPool(
            runtime_dir=control.runtime_dir,
            clock=clock,
            ended=guarded("worker ends", self._worker_ended),
            drain=self.registry.drain,
            settings=self._settings,
        )
        self.registry.pool = self.pool
        self.settings_sync = SettingsSync(self.registry, self.pool, clock, self._terms)
        self.validation = Validation(
            lambda: self.config,
            clock=clock,
            async_store=self.async_store,
            happened=self.wakeups.wake,
            progress=guarded(
                "told gates", lambda v, message: self.hub.tell("gate", {"version": v, "gate": message.gate})
            ),
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
            progress=guarded("told rollouts", lambda rollout: self.hub.tell("rollout", rollout.as_json())),
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
        self.alert_manager = AlertManager(
            self.snapshot,
            lambda: self.config,
            clock,
            self.async_store,
            host=socket.gethostname(),
            version=RELEASE,
            tell=self.hub.tell,
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
        )
        sockets = control.runtime_dir
        self.channel: WorkersSocket = WorkersSocket(
            sockets / "workers.sock", self.registry, lambda who: self._allowed(who, self.channel.group)
        )
        api = application(self.admin_service, self.hub)
        self.api: AdminServer = AdminServer(sockets / "api.sock", api, lambda who: self._allowed(who, self.api.group))
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
        self._of_ends = [guarded("worker end", tell) for tell in told]
        self._stuck = StuckWorkers(clock.monotonic)
        failures = self.background.failures
        self.alert_manager.more += [self.panel.figures, self._stuck.figures, partial(failed_controllers, failures)]
        self.alert_manager.exposed.append(partial(expose_failures, failures))
        wake = partial(asyncio.get_running_loop().call_soon_threadsafe, self.wakeups.wake)
        self.watch = Watch(config.models.root, wake)
        self.idle_check = IdleCheck(lambda: self.config, clock, self.snapshot, self._in_place, wake)
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
            looked=lambda: self._looked,
            terms=self._terms,
            clock=self.clock,
        )
        return parts.in_order(
            workers=self._workers,
            forms=self.forms,
            check=self._check,
            channel=self.channel,
            api=self.api,
            maintenance=self.maintenance,
            panel=self.panel,
            liveness=self.liveness,
            alert_manager=self.alert_manager,
        )

    def snapshot(self) -> Snapshot:
        """The daemon as it is now."""
        workers = WorkersSeen(
            frozen(self.registry.peers()),
            frozen(self.pool.processes()),
            self.pool.vacancies(),
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
        )

    def _in_place(self) -> bool:
        """On any thread: whether the sockets, the workers' record and the watch are as the last round left them."""
        files = self.channel.in_place() and self.api.in_place() and self.pool.written_down()
        return files and self.watch.alive()

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

    def _check(self) -> str:
        """On a thread: what this machine has may have changed too, and files of ours may be gone."""
        now, settings = self.clock.monotonic(), settings_of("", self.config, self._terms(), -1)
        self._looked = parts.Looked(
            capacity(),
            Places(identities(places_of(settings)), now),
            slot_files.kept(shared_dir(self.config)),
            sockets_in_place=self.channel.in_place() and self.api.in_place(),
        )
        self._tokens = told_tokens(self.config.workers.token_file)
        self.pool.written_down()
        return self.watch.check()

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
        """Ends everything: nobody new, workers drained unless they are to be left, state written.

        Every part has its own limit, and the workers are told before any part is waited for: whatever hangs, this
        returns within `workers.drain` and ENDING_SECONDS.
        """
        leave, background = self._leave_workers, self.background
        drain = 0.0 if leave else self.config.workers.drain
        said = "leaving the workers to the next daemon" if leave else "draining"
        background.call("service-manager", partial(self.service_manager.stop, said, drain + CLOSING_SECONDS), None)
        background.call("events", self.hub.close, None)
        self._workers.drain_seconds = None if leave else drain + DRAIN_GRACE_SECONDS
        limits = {"activation": 1.0, "pool": drain + DRAIN_GRACE_SECONDS + KILLED_SECONDS + 0.5}
        steps = {c.name: Step(c.name, c.stop, limits.get(c.name, PART_SECONDS)) for c in self.round.controllers}
        last = [steps.pop(name) for name in ("sockets", "panel", "service-manager")]
        await together(background, steps.pop("activation"))  # no rollout gives orders now
        background.call("listening socket", self.listen_socket.close, None)
        await together(background, Step("wake-ups", self._no_wake_ups, PART_SECONDS), *steps.values())
        because = "told to leave its workers" if leave else "told to stop"
        background.call("state", partial(self.async_store.note, "daemon-stopped", "", because), None)
        await together(background, Step("state", self.async_store.close, PART_SECONDS), *last)
        background.end()

    async def _no_wake_ups(self) -> None:
        await asyncio.gather(asyncio.to_thread(self.idle_check.stop), asyncio.to_thread(self.watch.stop))

    def _until_next(self) -> float:
        """Seconds until the next round is due."""
        failing = bool(self.background.failures.current() or self.panel.problem or self._former.deadline)
        latest = self.background.call("idle check", partial(self.idle_check.after_round, failed=failing), PAUSE_SECONDS)
        due, now = self.round.next_due(), self.clock.monotonic()
        return latest if due is None else min(latest, max(0.05, due - now))

    # workers

    def _settings(self, name: str) -> tuple[WorkerSettings, int]:
        assert self.listen_socket.sock is not None
        fd = self.listen_socket.sock.fileno()
        return settings_of(name, self.config, self._terms(), fd), fd

    def _terms(self) -> Terms:
        """What all workers are to run with."""
        return terms_of(self.config, self.listen_socket.address)

    def _welcome(self) -> WelcomeState:
        """What a worker that joins now is to serve.

        During a rollout that is still the old version: it will be moved in its turn.
        """
        beat = min(SLOWEST_BEAT_SECONDS, max(0.5, self.config.rollout.bake / 5))
        serving = self.activation.position.serving
        return WelcomeState(serving.version, serving.artifact, beat) if serving else WelcomeState(beat_seconds=beat)

    def _worker_ended(self, ended: Ended) -> None:
        for tell in self._of_ends:
            tell(ended)
        if not ended.retired:
            self.async_store.note(
                "worker-ended", "", f"{ended.name}: {ended.because}", worker=ended.name, pid=ended.pid
            )
        self.wakeups.wake()

    def _happened(self, event: WorkerEvent) -> None:
        if event.kind == "reopened":
            self.maintenance.reopened(event.worker)
        if event.kind == "stuck":
            self._stuck.heard(event.worker, event.because)
        if event.kind == "refused":
            self.log.warning("version refused", worker=event.worker, version=event.version, because=event.because)
        self.hub.tell("worker", {"worker": event.worker, "kind": event.kind, "version": event.version})
        self.wakeups.wake()

    # sockets

    def _take_listener(self, fd: int) -> None:
        self.listen_socket.take(fd, wanted=bool(self.registry.expected or self.pool.processes()))

    def _allowed(self, who: Credentials, group: int) -> bool:
        return let_in(who.uid, who.gid, who.groups, group)

    # others, who are told

    def _told(self, entry: HistoryEntry) -> None:
        self.alert_manager.heard(entry)
        self.hub.tell("history", {"kind": entry.kind, "version": entry.version, "because": entry.because})

    def _put_in_force(self, config: Config) -> None:
        self.config = config

    def read_config(self) -> Config:
        """The configuration as it is on disk now, credentials included. Raises BadConfig."""
        config = with_credentials(load_or_default(self.origin)[0], self.environ)
        self._tokens_read = told_tokens(config.workers.token_file)  # before it is in force
        return config

    def _tokens_to_tell(self) -> tuple[str, ...]:
        path = self.config.workers.token_file
        return self._tokens.of(path) or self._tokens_read.of(path)

    def reopen_logs(self) -> list[str]:
        """Our own log files and every worker's are opened anew by name; who will tell when that is done."""
        self.reopen_own_logs(
            partial(asyncio.get_running_loop().call_soon_threadsafe, self.maintenance.reopened, OWN_LOGS)
        )
        return [OWN_LOGS, *self.registry.tell_all(ReopenLogs())]

    def restart_workers(self, because: str) -> None:
        """Every worker is replaced, one after another, each successor first."""
        for process in self.pool.processes():
            self.pool.replace(process.name, because)
        self.wakeups.wake()
