"""The controllers of a round: thin adapters from the daemon's parts to `round.Controller`.

Each names what its part does in a round, when that is due, and how it ends. The parts decide. Invariant: none holds the
supervisor, and none calls another controller.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import structlog
from msgspec import Struct, field

from ...worker.settings import Terms
from ...worker.shared.installed_release import RELEASE
from ..api.server import AdminServer
from ..config.load import Config
from ..panel.server import PanelServer
from ..system import processes
from ..system.capacity import Need
from ..system.clock import Clock
from ..workers import slot_files as slots
from ..workers.channel import WorkersSocket
from ..workers.former_workers import FormerWorkers
from ..workers.listen_socket import ListenSocket
from ..workers.pool import WorkerPool
from ..workers.pool_planner import PoolLimits
from ..workers.registry import WorkerRegistry
from ..workers.replacement import outdated
from ..workers.settings_of_config import shared_dir
from .activation import Activation
from .alerting import AlertManager
from .child_requests import worker_count
from .disk_reads import DiskReading
from .form_choice import judged_seconds
from .form_order import FormOrder
from .forms import Forms
from .jobs import JobKeeping
from .liveness import Liveness
from .maintenance import Maintenance
from .rollouts import load_seconds
from .round import Controller
from .series_keeping import SeriesKeeping
from .uploads import VersionUploads
from .validation import Validation


class _Part(Struct):
    """A controller that is never due by time alone, and that has nothing to end."""

    name = ""

    def next_due(self) -> float | None:
        return None

    async def stop(self) -> None:
        return


class ModelRootController(_Part):
    """Reads the model root and the compiled forms. `check` runs on the same thread."""

    validation: Validation
    forms: Forms
    order: FormOrder
    check: Callable[[], str]
    name = "model-root"

    async def ensure(self) -> None:
        """The watch is checked first, so that a change during the scan causes another round."""
        if report := await self.validation.scan(self.check):
            structlog.get_logger("supervisor").info(report)
        await self.forms.read_disk(wanted.digest for wanted in self.order.wanted(all_accepted=True))


class ActivationController(_Part):
    """Has the version served that should be live. `former` are the workers of a former daemon."""

    activation: Activation
    registry: WorkerRegistry
    former: Callable[[], FormerWorkers]
    clock: Clock
    name = "activation"

    async def ensure(self) -> None:
        if self._returning():
            return
        await self.activation.decide()
        if not self.activation.busy and not self.activation.converge():
            self.activation.improve()

    def _returning(self) -> bool:
        """Whether workers of a former daemon may still join: a rollout without them would have no canary."""
        expected = self.registry.expected.values() if self.former().in_time(self.clock.monotonic()) else ()
        return any(processes.identity(who.pid) == who for who in expected)

    def next_due(self) -> float | None:
        return min((m for m in (self.activation.next_check(), self.former().deadline) if m is not None), default=None)

    async def stop(self) -> None:
        await self.activation.stop()


class SocketsController(_Part):
    """Opens the sockets of workers and API again when their files were removed or their server ended."""

    channel: WorkersSocket
    api: AdminServer
    looked: Callable[[], DiskReading]
    name = "sockets"

    async def ensure(self) -> None:
        log = structlog.get_logger("supervisor")
        if self.looked().sockets_in_place:
            return
        try:
            if any((await self.channel.heal(), await self.api.heal())):
                log.warning("a socket was gone; made again")
        except OSError as e:
            log.error("cannot make a socket file again", because=e.strerror or str(e), path=e.filename)

    async def stop(self) -> None:
        await self.channel.close()
        await self.api.close()


class WorkersController(_Part):
    """Keeps the right number of workers running, each with the settings in force.

    `because` is the reason for that number. `drain_seconds` is their time at the end, in which they give
    `notice_seconds` of notice first; with None they continue for the next daemon.
    """

    config: Callable[[], Config]
    pool: WorkerPool
    registry: WorkerRegistry
    listen_socket: ListenSocket
    activation: Activation
    validation: Validation
    former: Callable[[], FormerWorkers]
    looked: Callable[[], DiskReading]
    terms: Callable[[], Terms]
    clock: Clock
    because: str = ""
    drain_seconds: float | None = None
    notice_seconds: float = 0.0
    _need: Need = field(default_factory=Need)
    name = "pool"

    async def ensure(self) -> None:
        config, looked = self.config(), self.looked()
        self.pool.limits = PoolLimits(
            load_seconds(config.rollout.reload_timeout, self.activation.position.serving) + 30.0,
            config.workers.drain + 5.0,
            starting=max(2, looked.capacity.processors),
        )
        if self.listen_socket.sock is not None:
            self._need = self._needed()
            self.pool.wanted, self.because = worker_count(config, looked.capacity, self._need)
            if set(looked.slots) != {self.pool.wanted}:
                await asyncio.to_thread(slots.keep, shared_dir(config), self.pool.wanted)
        peers, now = self.registry.peers(), self.clock.monotonic()
        self.registry.agree()
        leaving = outdated(
            peers,
            most_bytes=config.workers.memory,
            release=RELEASE,
            now=now,
            started={process.name for process in self.pool.processes() if process.child.ours},
            terms=self.terms(),
            places=looked.places,
        )
        for name, because in (*leaving, *self.former().overdue(peers, now)):
            self.pool.replace(name, because)
        self.pool.step()

    def _needed(self) -> Need:
        """The memory that the served version needs; while none is served, that of the largest one. The last value while
        unknown.
        """
        serving, entries = self.activation.position.serving, self.validation.catalog.entries()
        chosen = [e for e in entries if serving is None or e.digest == serving.digest]
        own = serving.load_bytes if serving is not None else 0  # of the form that is served
        needs = [Need(e.seen.bytes, own or (e.verdict.load_bytes if e.verdict else 0)) for e in chosen]
        return max(needs, key=lambda need: (need.file_bytes, need.load_bytes), default=self._need)

    def next_due(self) -> float | None:
        return self.pool.next_check()

    async def stop(self) -> None:
        if self.drain_seconds is None:
            await self.pool.leave()
        else:
            await self.pool.close(self.drain_seconds, self.notice_seconds)


class ValidationController(_Part):
    """Has waiting versions validated, one at a time."""

    validation: Validation
    activation: Activation
    name = "validation"

    async def ensure(self) -> None:
        self.validation.next(self.activation.wanted, self.activation.position.serving)

    def next_due(self) -> float | None:
        return self.validation.next_due()

    async def stop(self) -> None:
        await self.validation.stop()


class CompilationController(_Part):
    """Has compiled forms made, and removes those that no worker will load again."""

    forms: Forms
    validation: Validation
    activation: Activation
    order: FormOrder
    name = "compilation"

    async def ensure(self) -> None:
        if not self.activation.busy:
            await self.forms.tidy(self.activation.artifacts_in_use())
        self.forms.ensure(self.order.wanted(), lambda name, _: judged_seconds(self.validation.catalog.get(name)))

    def next_due(self) -> float | None:
        return self.forms.next_due()

    async def stop(self) -> None:
        await self.forms.stop()


class MaintenanceController(_Part):
    """Disk and logs, which have their own timer."""

    maintenance: Maintenance
    name = "maintenance"

    async def ensure(self) -> None:
        self.maintenance.start()

    async def stop(self) -> None:
        await self.maintenance.stop()


class PanelController(_Part):
    """Opens the panel where it is not open, and checks its token file."""

    server: PanelServer
    name = "panel"

    async def ensure(self) -> None:
        await self.server.keep()

    async def stop(self) -> None:
        await self.server.close()


class ServiceManagerController(_Part):
    """Reports the state of the daemon to the service manager."""

    liveness: Liveness
    name = "service-manager"

    async def ensure(self) -> None:
        self.liveness.start()
        self.liveness.report()

    async def stop(self) -> None:
        await self.liveness.stop()


class AlertingController(_Part):
    """Compares the daemon's parts with the rules. It runs after them, so it sees what failed in this round."""

    alert_manager: AlertManager
    name = "alerting"

    async def ensure(self) -> None:
        self.alert_manager.check()

    async def stop(self) -> None:
        await self.alert_manager.stop()


def in_order(
    *,
    workers: WorkersController,
    forms: Forms,
    check: Callable[[], str],
    channel: WorkersSocket,
    api: AdminServer,
    maintenance: Maintenance,
    jobs: JobKeeping,
    outside: Sequence[Controller],
    series: SeriesKeeping,
    uploads: VersionUploads,
    panel: PanelServer,
    liveness: Liveness,
    alert_manager: AlertManager,
) -> tuple[Controller, ...]:
    """All controllers, in the order in which they run: alerting after the parts that it reports on.

    `outside` use the network: what they send depends on the alerts.
    """
    validation, activation = workers.validation, workers.activation
    order = FormOrder(forms, validation, activation)
    return (
        ModelRootController(validation, forms, order, check),
        ActivationController(activation, workers.registry, workers.former, workers.clock),
        SocketsController(channel, api, workers.looked),
        workers,
        ValidationController(validation, activation),
        CompilationController(forms, validation, activation, order),
        MaintenanceController(maintenance),
        jobs,
        series,
        uploads,
        PanelController(panel),
        ServiceManagerController(liveness),
        AlertingController(alert_manager),
        *outside,
    )
