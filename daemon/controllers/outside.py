"""Builds the parts that talk to the world as others do: heartbeats to a service outside, probes through our own port.

It only puts them together and shows them; each decides and acts by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from ..config.load import Config
from ..system.clock import Clock
from ..workers.listen_socket import ListenSocket
from .activation import Activation
from .alerting import AlertManager
from .heartbeat import Heartbeat
from .probe import Probe


class OutsideParts:
    """The heartbeat and the probe of one daemon, known to its alerts."""

    def __init__(
        self,
        config: Callable[[], Config],
        clock: Clock,
        *,
        host: str,
        activation: Activation,
        listen_socket: ListenSocket,
        alert_manager: AlertManager,
    ) -> None:
        def live() -> str:
            word = activation.position.word
            return word.name if word and activation.position.serving else ""

        self.heartbeat = Heartbeat(config, clock, host=host, critical=alert_manager.critical, serving=live)
        self.probe = Probe(
            config,
            address=lambda: listen_socket.address,
            version=lambda: config().models.root / live() if live() else None,
            busy=lambda: activation.busy,
            happened=partial(alert_manager.look, at_once=True),
        )
        alert_manager.more += [self.heartbeat.figures, self.probe.figures]
        alert_manager.exposed.append(self.probe.expose)
        alert_manager.changed.append(self.heartbeat.look)

    @property
    def controllers(self) -> tuple[Heartbeat, Probe]:
        return self.heartbeat, self.probe
