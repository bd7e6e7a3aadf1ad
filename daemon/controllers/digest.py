"""Sends the daily digest: collects its facts, and stores when the last one was sent.

`health.digest` decides what is in it and when it is due. It counts from the last digest, or from the daemon's start,
because counters do not outlive the daemon.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from math import isfinite
from typing import Final

from ..config.load import Config
from ..config.local_times import zone_of
from ..health import digest
from ..health.digest import DayCounts, DigestFacts
from ..health.probe_record import ProbeRecord
from ..state.async_store import AsyncStore, CannotKeep
from ..status.snapshot import Snapshot
from ..system.clock import Clock
from .alerting import AlertManager
from .repeated_step import RepeatedStep

DIGEST: Final = "digest"


class Digest(RepeatedStep):
    """See the module."""

    name = DIGEST

    def __init__(
        self,
        config: Callable[[], Config],
        clock: Clock,
        async_store: AsyncStore,
        *,
        snapshot: Callable[[], Snapshot],
        alert_manager: AlertManager,
        probe: ProbeRecord,
    ) -> None:
        super().__init__()
        self._config, self._clock, self._async_store = config, clock, async_store
        self._snapshot, self._alert_manager, self._probe = snapshot, alert_manager, probe
        self._sent: float | None = None
        self._before, self._since = DayCounts(), clock.monotonic()

    async def step(self) -> float | None:
        seconds = await self._send_if_due()
        self.worked()
        return seconds

    async def _send_if_due(self) -> float | None:
        """Returns after how many seconds to check again; None without a digest."""
        alerts, wall = self._config().alerts, self._clock.wall()
        if not alerts.digest:
            return None
        if self._sent is None:
            self._sent = await self._last(wall)
        self._sent = min(self._sent, wall)  # the clock may have run ahead
        due = digest.due(alerts.digest, zone_of(alerts.time_zone), self._sent, wall)
        if due.now:
            self._send()
            await self._keep(wall)
        return due.seconds

    def _send(self) -> None:
        facts, language = self._facts(), self._config().alerts.language
        self._alert_manager.notifications.send_text(lambda host, room: digest.text(facts, host, room, language))
        self._before, self._since = self._counts(), self._clock.monotonic()

    async def _last(self, wall: float) -> float:
        """When the last one was sent. The first time it is now, so that a new daemon does not begin with one."""
        with suppress(CannotKeep):
            kept = await self._async_store.do(lambda store: store.fact(digest.FACT))
            if isinstance(kept, int | float) and isfinite(kept) and kept <= wall:
                return float(kept)
        await self._keep(wall)
        return wall

    async def _keep(self, wall: float) -> None:
        self._sent = wall
        with suppress(CannotKeep):  # logged where it happened
            await self._async_store.do(lambda store: store.put(**{digest.FACT: wall}))

    def _counts(self) -> DayCounts:
        """Everything since the daemon began."""
        events, totals = self._alert_manager.tally.events, self._alert_manager.monitor.totals
        return DayCounts(
            0.0,
            totals.requests,
            totals.errors,
            events["alert-firing"],
            events["rejected"],
            events["activated"] + events["rollout-failed"],
            self._snapshot().upkeep.removed_bytes,
        )

    def _facts(self) -> DigestFacts:
        seen, manager, now, before = self._snapshot(), self._alert_manager, self._counts(), self._before
        disk, probe, word = manager.disk(), self._probe, seen.activation.position.word
        return DigestFacts(
            version=word.name if word else "",
            ready=seen.workers.ready,
            workers=seen.workers.wanted,
            mount=disk.mount or "",
            used_percent=disk.used_percent if isinstance(disk.used_percent, float) else None,
            free_bytes=disk.free_bytes or 0,
            forecast=disk.forecast or "",
            probe=f"off: {probe.off}" if probe.off else f"{probe.passed} passed, {probe.failed} failed",
            active=tuple(alert.message for alert in manager.active()),
            counts=DayCounts(
                self._clock.monotonic() - self._since,
                *(
                    getattr(now, name) - getattr(before, name)
                    for name in ("requests", "errors", "alerts", "rejected", "rollouts", "removed_bytes")
                ),
            ),
        )
