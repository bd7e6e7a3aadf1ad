"""Builds the parts that use the network on a timer: heartbeats, probes through our own port, the daily
digest.

It only builds them and adds them to the alerts; each decides and acts by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from ..config.load import Config
from ..state.async_store import AsyncStore
from ..status.snapshot import Snapshot
from ..system.clock import Clock
from ..workers.listen_socket import ListenSocket
from .activation import Activation
from .alerting import AlertManager
from .digest import Digest
from .heartbeat import Heartbeat
from .probe import Probe


class OutsideParts:
    """The heartbeat, the probe and the digest of one daemon, known to its alerts."""

    def __init__(
        self,
        config: Callable[[], Config],
        clock: Clock,
        *,
        host: str,
        activation: Activation,
        listen_socket: ListenSocket,
        alert_manager: AlertManager,
        snapshot: Callable[[], Snapshot],
        async_store: AsyncStore,
    ) -> None:
        def live() -> str:
            word = activation.position.word
            return word.name if word and activation.position.serving else ""

        self.heartbeat = Heartbeat(config, clock, host=host, critical=alert_manager.critical, serving=live)
        self.probe = Probe(
            config,
            clock,
            address=lambda: listen_socket.address,
            version=lambda: config().models.root / live() if live() else None,
            busy=lambda: activation.busy,
            happened=partial(alert_manager.check, at_once=True),
        )
        self.digest = Digest(
            config, clock, async_store, snapshot=snapshot, alert_manager=alert_manager, probe=self.probe.record
        )
        alert_manager.more += [self.heartbeat.figures, self.probe.figures]
        alert_manager.exposed.append(self.probe.expose)
        alert_manager.changed.append(self.heartbeat.check)

    @property
    def controllers(self) -> tuple[Heartbeat, Probe, Digest]:
        return self.heartbeat, self.probe, self.digest
