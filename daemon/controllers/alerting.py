"""Runs the alerts: measures every `monitor.interval`, checks the daemon's parts each round, has
messages sent.

It holds no rule: `health.alerts` decides what an alert is, `notifications` sends, `silences` holds back. Invariant:
what fires, what was sent and what was held back outlive the daemon.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

import structlog

from ...worker.shared.prometheus_text import Exposition
from ..answers.alerts import AlertReport, AlertsAnswer, SeriesAnswer
from ..answers.events import SampleNews
from ..answers.status import FullestDisk
from ..config.load import Config
from ..health import alert_record, message_text
from ..health.alerts import (
    Alert,
    Alerts,
    AlertState,
    Figure,
    due,
    evaluate,
    turned,
)
from ..health.delivery import Sender
from ..health.forecast import Forecast
from ..health.mounts import StatVfs
from ..health.notification_planner import Item, NotificationPace
from ..health.rules import HealthRule, rules
from ..health.sampler import (
    MEASURED,
    RECENT_SECONDS,
    Sampler,
    SystemReading,
    SystemSample,
    WorkerSeen,
    pids_of,
)
from ..state.async_store import AsyncStore, CannotKeep
from ..state.store import HistoryEntry
from ..status import alert_views, metrics_export
from ..status.alert_endings import ending
from ..status.alert_inputs import DAEMON_METRICS, alert_figures, class_usage, quiet_due
from ..status.snapshot import Snapshot, WorkersSeen
from ..system.background import here
from ..system.clock import Clock, rfc3339
from ..system.timer_thread import TimerThread
from ..workers.pool import Ended
from .notifications import Notifications
from .silences import Silences

HOLD_SECONDS: Final = 60.0
"""For so long after a start no earlier alert is resolved: not everything is known again yet."""
LEAST_SECONDS: Final = 0.25
"""The least time between two checks of our own parts."""
TOLD_BY_OTHERS: Final = frozenset(
    (
        "version_rejected",
        "version_unjudged",
        "misplaced_link",
        "rollout_failed",
        "needs_operator",
        "root_absent",
        "config_refused",
        "sweep_shortfall",
    )  # fmt: skip
)
"""What has a line of history and of the log of its own already."""
MAX_NOTES: Final = 20
"""The most lines of history for one check."""

More = Callable[[], Iterable[Figure]]


class AlertManager:
    """See the module. `snapshot` returns the state of the daemon; `tell` sends an event to the viewers.

    Other parts add figures with `more` (all values of each metric in `more_metrics`) and metrics with `exposed`. The
    functions in `changed` are called when an alert begins or ends.
    """

    def __init__(
        self,
        snapshot: Callable[[], Snapshot],
        config: Callable[[], Config],
        clock: Clock,
        async_store: AsyncStore,
        *,
        host: str,
        version: str,
        tell: Callable[[str, object], None],
        sender: Sender | None = None,
        pace: NotificationPace | None = None,
        proc: Path = Path("/proc"),
        statvfs: StatVfs = os.statvfs,
        hold_seconds: float = HOLD_SECONDS,
    ) -> None:
        self._snapshot, self._config, self._clock, self._async_store = snapshot, config, clock, async_store
        self._version, self._tell, self._hold_seconds = version, tell, hold_seconds
        self._log = structlog.get_logger("alerts")
        self.monitor = Sampler(clock, config().monitor.interval, proc=proc, statvfs=statvfs)
        self.notifications = Notifications(
            config, clock, host=host, happened=self.check, changed=self._save, sender=sender, pace=pace
        )
        self.silences = Silences(
            config,
            clock,
            async_store,
            alerts=lambda: self._alerts,
            rules=self._rules,
            happened=lambda: self.check(at_once=True),
        )
        self.tally = metrics_export.ExportTally(self._clock.wall())
        self.forecast = Forecast()
        self.more: list[More] = [self.forecast.figures]
        self.more_metrics: set[str] = set()
        self.exposed: list[Callable[[Exposition], None]] = []
        self.changed: list[Callable[[], None]] = []
        self._alerts: dict[str, Alert] = {}
        self._ends: deque[float] = deque(maxlen=1000)
        self._measured: tuple[SystemSample, float] | None = None
        self._began = self._checked = float("-inf")
        self._next: asyncio.TimerHandle | None = None
        self._save_again = self._in_memory = False
        self._quiet_due: float | None = None
        self._timer: TimerThread | None = None
        self._saves: asyncio.Task[None] | None = None
        self._pids: dict[str, int] = {}

    # start and end

    async def recall(self) -> None:
        """Loads what fired and what was sent when a former daemon ended."""
        self._began = self._clock.monotonic()
        with suppress(CannotKeep):
            record = await self._async_store.do(lambda store: store.fact(alert_record.FACT))
            now, wall = self._began, self._clock.wall()
            recalled = alert_record.read(record, self._rules(), now, wall)
            self._alerts = recalled.alerts
            self.notifications.take_up(recalled.told, recalled.missed)
        await self.silences.recall()

    def begin(self) -> None:
        """Starts the measurements."""
        self._loop = asyncio.get_running_loop()
        self._pids = pids_of(_workers(self._snapshot().workers))
        self._timer = TimerThread(
            "monitor", self._strike, lambda: self._config().monitor.interval, self._clock, later=0.2
        )
        self._timer.start(at_once=True)

    async def stop(self) -> None:
        """Ends measuring and sending; messages that did not arrive are sent after the next start."""
        if self._next is not None:
            self._next.cancel()
        if self._timer is not None:
            await asyncio.to_thread(self._timer.stop)
        if self._saves is not None:
            self._saves.cancel()
            await asyncio.wait({self._saves}, timeout=2.0)
        await self.notifications.notifier.stop()

    def _strike(self) -> None:
        """Runs on the timer's thread, so it must not use the daemon's parts."""
        reading = self.monitor.read(self._paths(), self._pids)
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._take, reading)

    # looking

    def _take(self, reading: SystemReading) -> None:
        workers = _workers(self._snapshot().workers)
        self._pids = pids_of(workers)  # for the next reading: a new worker has reported by then
        sample = self.monitor.take(self._config().monitor.interval, reading, workers)
        self._measured = (sample, self._clock.wall())
        free = {mount.mount: mount.space.free_bytes for mount in sample.mounts if mount.space}
        self.forecast.add(sample.at, free, {name: used for name, used, _ in class_usage(self._snapshot())})
        self._evaluate(sample.figures, MEASURED)
        self._tell("sample", SampleNews(rfc3339(self._measured[1]), dict(sample.row)))

    def check(self, *, at_once: bool = False) -> None:
        """Checks our own parts. Quick; may be called at any time: checks are LEAST_SECONDS apart but for `at_once`."""
        now = self._clock.monotonic()
        if now - self._checked < LEAST_SECONDS and not at_once:
            self._check_at(self._checked + LEAST_SECONDS)
            return
        self._checked = now
        self.notifications.configure()
        restarts = sum(now - at <= RECENT_SECONDS for at in self._ends)
        seen = self._snapshot()
        self._quiet_due = quiet_due(seen)
        figures = alert_figures(seen, restarts=restarts, channels=self.notifications.notifier.channels)
        for more in self.more:
            figures += more()
        self._evaluate(figures, (*DAEMON_METRICS, *self.more_metrics))

    def _rules(self) -> tuple[HealthRule, ...]:
        return rules(self._config().monitor.alert)

    def _paths(self) -> list[Path]:
        config = self._config()
        control = config.control
        own = [config.models.root, control.state_dir, control.cache_dir, control.runtime_dir]
        own += [config.logs.dir] if config.logs.dir is not None else []
        return [*own, *(entry.path for entry in config.disk.class_)]

    def _evaluate(self, figures: Iterable[Figure], looked: Iterable[str]) -> None:
        now, before = self._clock.monotonic(), self._alerts
        how = partial(ending, self._snapshot())
        self._alerts = evaluate(before, self._rules(), figures, looked, now, hold=self._holding(now), ending=how)
        if changed := turned(before, self._alerts):
            self._note(changed, before)
            self._save()
            for tell in self.changed:
                tell()
        self._announce(now)

    def _holding(self, now: float) -> bool:
        return now - self._began < self._hold_seconds

    def _note(self, changed: list[Alert], before: Alerts) -> None:
        """History, log and events for what began or ended."""
        for alert in changed:
            self._tell("alert", self._report(alert))
            if alert.fired is None:
                self._over(alert, before[alert.fingerprint].fired or alert.since)
        changed = [alert for alert in changed if alert.rule.metric not in TOLD_BY_OTHERS]
        for number, alert in enumerate(changed):
            began, text = alert.fired is not None, message_text.sentence(alert)
            if number == MAX_NOTES:
                self._async_store.note("alert-firing", "", f"and {len(changed) - number} more alerts changed at once")
            if number >= MAX_NOTES:
                continue
            self._log.log(30 if began else 20, "alert" if began else "alert over", alert=alert.rule.name, because=text)
            kind = "alert-firing" if began else "alert-resolved"
            self._async_store.note(kind, "", text, alert=alert.rule.name, subject=alert.subject)

    def _over(self, alert: Alert, began: float) -> None:
        """An alert that ended while it was held back, and was never sent, is sent afterwards."""
        self.silences.ended(alert.fingerprint)
        if self.silences.quiet(alert) and not self.notifications.is_told(alert.fingerprint):
            self.notifications.miss(alert, began)

    # sending

    def _announce(self, now: float) -> None:
        """Sends what is due, and sets the time of the next check."""
        again = [self._quiet_due, due({f: a for f, a in self._alerts.items() if a.rule.metric in DAEMON_METRICS})]
        items = [self._item(alert) for alert in self._active(now)]
        ends = {f: a.ended for f, a in self._alerts.items() if a.state is AlertState.RESOLVED}
        held = self.silences.held_back(items, self.notifications.told, self.notifications.missed)
        again += [self.notifications.announce(items, held, ends), self.silences.next_change()]
        if self._holding(now):
            again.append(self._began + self._hold_seconds)
        if moments := [moment for moment in again if moment is not None]:
            self._check_at(max(min(moments), now + LEAST_SECONDS))

    def _active(self, now: float) -> list[Alert]:
        order = {"critical": 0, "warning": 1}
        active = [alert for alert in self._alerts.values() if alert.active(now)]
        return sorted(active, key=lambda a: (order[a.rule.severity], a.rule.metric != "needs_operator", a.since))

    def _item(self, alert: Alert) -> Item:
        about = alert.subject if alert.rule.metric == "alert_channel_failures" else ""
        since = alert.since if alert.fired is None else alert.fired
        acknowledged = alert.fingerprint in self.silences.acknowledged
        text = message_text.sentence(alert)
        return Item(alert.fingerprint, alert.rule.severity, since, text, about, acknowledged)

    def _check_at(self, moment: float) -> None:
        """Has `check` run again at this time, or earlier."""
        loop = asyncio.get_running_loop()
        when = loop.time() + max(0.0, moment - self._clock.monotonic())
        if self._next is not None and not self._next.cancelled() and loop.time() < self._next.when() <= when:
            return
        if self._next is not None:
            self._next.cancel()
        self._next = loop.call_at(when, self.check)

    def _save(self) -> None:
        self._save_again = True
        if self._saves is None or self._saves.done():
            self._saves = here().start("alerts to the state", self._save_all)

    async def _save_all(self) -> None:
        while self._save_again:
            self._save_again = False
            now, wall = self._clock.monotonic(), self._clock.wall()
            told, missed = self.notifications.kept, self.notifications.kept_missed
            record = alert_record.record(self._alerts, told, missed, now, wall)
            with suppress(CannotKeep):  # logged where it happened
                await self._async_store.do(lambda store, record=record: store.put(**{alert_record.FACT: record}))  # type: ignore[misc]

    # events from other parts

    def worker_ended(self, ended: Ended) -> None:
        """Counts a worker process that ended."""
        self.tally.ends["yes" if ended.retired else "no"] += 1
        if not ended.retired:
            self._ends.append(self._clock.monotonic())

    def add_history(self, entry: HistoryEntry) -> None:
        """A line of history was kept."""
        self.tally.heard(entry)
        if bool(self._async_store.problem) != self._in_memory:  # a round may be a minute away
            self._in_memory = not self._in_memory
            self.check()

    # queries

    def active(self) -> list[AlertReport]:
        """The active alerts, critical ones first."""
        return [self._report(alert) for alert in self._active(self._clock.monotonic())]

    def critical(self) -> list[str]:
        """The sentences of the critical alerts that are not held back."""
        active = self._active(self._clock.monotonic())
        return [
            message_text.sentence(alert)
            for alert in active
            if alert.rule.severity == "critical" and not self.silences.reason(alert)
        ]

    def alerts(self) -> AlertsAnswer:
        """Every alert that is not ok, and the state of the channels."""
        now = self._clock.monotonic()
        active = self._active(now)
        told = {alert.fingerprint for alert in active}
        rest = [a for a in self._alerts.values() if a.fingerprint not in told and a.state is not AlertState.OK]
        shown = [*active, *sorted(rest, key=lambda a: (a.state is AlertState.RESOLVED, -a.since))]
        return AlertsAnswer(
            [self._report(alert) for alert in shown],
            [alert_views.channel(channel) for channel in self.notifications.notifier.channels],
            self.silences.report(),
            self.silences.windows(),
        )

    def _report(self, alert: Alert) -> AlertReport:
        since = self._clock.wall() - (self._clock.monotonic() - alert.since)
        acknowledged = self.silences.acknowledged.get(alert.fingerprint)
        return alert_views.alert(alert, since=since, held=self.silences.reason(alert), acknowledged=acknowledged)

    def disk(self) -> FullestDisk:
        """The fullest file system, as it was measured last."""
        spaces = [(m.space, m.mount) for m in self._measured[0].mounts if m.space] if self._measured else []
        if not spaces:
            return FullestDisk()
        space, mount = max(spaces, key=lambda pair: pair[0].used_percent)
        return FullestDisk(mount, round(space.used_percent, 1), space.free_bytes, self.forecast.sentence())

    def series(self, span: str) -> SeriesAnswer:
        """One of `answers.alerts.SPANS`, for charts."""
        return self.monitor.series.answer(span)

    def metrics(self) -> str:
        """Prometheus' text."""
        return metrics_export.exposition(
            self._snapshot(),
            self.tally,
            version=self._version,
            measured=self._measured,
            alerts=self._alerts,
            channels=self.notifications.notifier.channels,
            more=self.exposed,
        )


def _workers(workers: WorkersSeen) -> list[WorkerSeen]:
    return [
        WorkerSeen(
            name=peer.name,
            pid=0 if peer.attached else peer.pid,
            requests=peer.beat.requests,
            errors=peer.beat.errors,
            inflight=peer.beat.inflight,
            p95_seconds=peer.beat.p95_seconds,
            resident_bytes=peer.beat.rss_bytes,
            ready=peer.ready,
        )
        for peer in workers.peers
    ]
