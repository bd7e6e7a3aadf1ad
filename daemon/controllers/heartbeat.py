"""Sends heartbeats to a service outside, which raises an alert when this machine is down.

`health.heartbeat_planner` decides when and what. Invariant: one attempt at a time, each in a child with a limit, so a
service that does not answer delays nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import inf
from typing import Final

import structlog

from ..answers.status import HeartbeatReport
from ..config.load import Config
from ..health import heartbeat_planner
from ..health.addresses import Address, WebhookForm
from ..health.alerts import Figure
from ..health.delivery import Outcome, send_in_child
from ..health.heartbeat_planner import Beaten
from ..health.message_text import Text
from ..system.clock import Clock, rfc3339
from .repeated_step import RepeatedStep

HEARTBEAT: Final = "heartbeat"
_FORM: Final = WebhookForm("text", "")


class Heartbeat(RepeatedStep):
    """See the module. `critical` returns the sentences of critical alerts that are not held back, `serving` the
    version.
    """

    name = HEARTBEAT

    def __init__(
        self,
        config: Callable[[], Config],
        clock: Clock,
        *,
        host: str,
        critical: Callable[[], Iterable[str]],
        serving: Callable[[], str],
    ) -> None:
        super().__init__()
        self._config, self._clock, self._host = config, clock, host
        self._critical, self._serving = critical, serving
        self._log = structlog.get_logger(HEARTBEAT)
        self.last: Beaten | None = None
        self.failures = 0
        self._delivered = self._failed = self._failed_because = ""

    async def step(self) -> float | None:
        """Sends one if it is due; None without an address."""
        if self._seconds() <= 0:
            await self._beat()
            self.worked()
        return None if (wait := self._seconds()) == inf else wait

    def _seconds(self) -> float:
        """Until the next one; inf without an address."""
        alerts = self._config().alerts
        if not alerts.heartbeat:
            self.last, self.failures = None, 0
            self._delivered = self._failed = self._failed_because = ""
            return inf
        failing = any(True for _ in self._critical())
        every = alerts.heartbeat_every
        return heartbeat_planner.due(self.last, alerts.heartbeat, every, failing=failing) - self._clock.monotonic()

    async def _beat(self) -> None:
        alerts, critical = self._config().alerts, list(self._critical())
        url = heartbeat_planner.beat_url(alerts.heartbeat, failing=bool(critical))
        text = heartbeat_planner.words(self._host, self._serving(), critical)
        began = self._clock.monotonic()
        address = Address(url, HEARTBEAT, "webhook", form=_FORM)
        outcome: Outcome = await send_in_child(address, Text("", "", "info", {}, raw=text), ca_file=alerts.ca_file)
        self.last = Beaten(began, alerts.heartbeat, bool(critical), outcome.because)
        self.failures = self.failures + 1 if outcome.because else 0
        moment = rfc3339(self._clock.wall())
        if not outcome.because:
            self._delivered = moment
        else:
            self._failed, self._failed_because = moment, outcome.because
            self._log.error("heartbeat not delivered", because=outcome.because, tries=self.failures)

    def figures(self) -> list[Figure]:
        """The number of heartbeats in a row that did not arrive."""
        if self.last is None:
            return []
        return [Figure("heartbeat_failures", float(self.failures), "", self.last.because)]

    def report(self) -> HeartbeatReport | None:
        """The state of the heartbeats; None without an address."""
        if self.last is None:
            return None
        ago = round(self._clock.monotonic() - self.last.at, 1)
        return HeartbeatReport(
            self.failures,
            self.last.because,
            self.last.failing,
            ago,
            self._delivered,
            self._failed,
            self._failed_because,
        )
