"""Raises alerts: measures every `monitor.interval`, checks the daemon's own parts each round, notifies channels.

It holds no rule: `health.alerts` decides what is an alert, `health.notification_planner` what is worth a message.
Invariant: a message counts as sent only once some channel took it, so a crash repeats it rather than losing it.
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
from ..answers.alerts import AlertReport, AlertsAnswer, AlertsTestAnswer, ChannelReport, SeriesAnswer
from ..answers.events import SampleNews
from ..answers.status import FullestDisk
from ..config.load import Config
from ..health import alert_record, message_text
from ..health.addresses import Address
from ..health.alerts import (
    Alert,
    AlertState,
    Figure,
    due,
    evaluate,
    turned,
)
from ..health.delivery import Notifier, Sender
from ..health.mounts import StatVfs
from ..health.notification_planner import GroupNotified, Item, Notification, NotificationPace, plan
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
from ..status import metrics_export
from ..status.alert_endings import ending
from ..status.alert_inputs import DAEMON_METRICS, alert_figures, quiet_due
from ..status.snapshot import Snapshot, WorkersSeen
from ..system.background import here
from ..system.clock import Clock, rfc3339
from ..system.timer_thread import TimerThread
from ..workers.pool import Ended

HOLD_SECONDS: Final = 60.0
"""For so long after a start no earlier alert is resolved: not everything is known again yet."""
LEAST_SECONDS: Final = 0.25
"""Between two looks at our own parts."""
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
"""Lines of history for what one look found."""

More = Callable[[], Iterable[Figure]]


class AlertManager:
    """See the module. `snapshot` is the daemon as it is now; `tell` is the events' hub.

    Other parts add figures with `more` (every metric of `more_metrics`, whole) and metrics with `exposed`.
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
        self._host, self._version, self._tell = host, version, tell
        self._log = structlog.get_logger("alerts")
        self._pace, self._hold_seconds = pace or NotificationPace(), hold_seconds
        self.monitor = Sampler(clock, config().monitor.interval, proc=proc, statvfs=statvfs)
        self.notifier = Notifier(self._clock, self.look, sender)
        self.tally = metrics_export.ExportTally(self._clock.wall())
        self.more: list[More] = []
        self.more_metrics: set[str] = set()
        self.exposed: list[Callable[[Exposition], None]] = []
        self._alerts: dict[str, Alert] = {}
        self._told: dict[str, GroupNotified] = {}
        self._kept: dict[str, GroupNotified] = {}
        self._ends: deque[float] = deque(maxlen=1000)
        self._measured: tuple[SystemSample, float] | None = None
        self._began = self._looked = float("-inf")
        self._next: asyncio.TimerHandle | None = None
        self._save_again = self._in_memory = False
        self._quiet_due: float | None = None
        self._timer: TimerThread | None = None
        self._saves: asyncio.Task[None] | None = None
        self._pids: dict[str, int] = {}

    # start and end

    async def recall(self) -> None:
        """Takes up what fired and what was told when a former daemon ended."""
        self._began = self._clock.monotonic()
        with suppress(CannotKeep):
            record = await self._async_store.do(lambda store: store.fact(alert_record.FACT))
            now, wall = self._began, self._clock.wall()
            self._alerts, self._told = alert_record.read(record, self._rules(), now, wall)
            self._kept = dict(self._told)

    def begin(self) -> None:
        """Measures from now on."""
        self._loop = asyncio.get_running_loop()
        self._pids = pids_of(_workers(self._snapshot().workers))
        self._timer = TimerThread(
            "monitor", self._strike, lambda: self._config().monitor.interval, self._clock, later=0.2
        )
        self._timer.start(at_once=True)

    async def stop(self) -> None:
        """Nothing is measured or sent any more; what was not delivered is sent after the next start."""
        if self._next is not None:
            self._next.cancel()
        if self._timer is not None:
            await asyncio.to_thread(self._timer.stop)
        if self._saves is not None:
            self._saves.cancel()
            await asyncio.wait({self._saves}, timeout=2.0)
        await self.notifier.stop()

    def _strike(self) -> None:
        """On the timer's thread: the daemon's own parts must not be touched here."""
        reading = self.monitor.read(self._paths(), self._pids)
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._take, reading)

    # looking

    def _take(self, reading: SystemReading) -> None:
        workers = _workers(self._snapshot().workers)
        self._pids = pids_of(workers)  # of the next: a worker that came since has told its own figures meanwhile
        sample = self.monitor.take(self._config().monitor.interval, reading, workers)
        self._measured = (sample, self._clock.wall())
        self._evaluate(sample.figures, MEASURED)
        self._tell("sample", SampleNews(rfc3339(self._measured[1]), dict(sample.row)))

    def look(self, *, at_once: bool = False) -> None:
        """Checks our own parts. Quick; may be called at any time: checks are LEAST_SECONDS apart but for `at_once`."""
        now = self._clock.monotonic()
        if now - self._looked < LEAST_SECONDS and not at_once:
            self._look_at(self._looked + LEAST_SECONDS)
            return
        self._looked = now
        self.notifier.configure(self._config().alerts.to)
        restarts = sum(now - at <= RECENT_SECONDS for at in self._ends)
        seen = self._snapshot()
        self._quiet_due = quiet_due(seen)
        figures = alert_figures(seen, restarts=restarts, channels=self.notifier.channels)
        for more in self.more:
            figures += more()
        self._evaluate(figures, (*DAEMON_METRICS, *self.more_metrics))

    def _rules(self) -> tuple[HealthRule, ...]:
        return rules(self._config().monitor.alert)

    def _paths(self) -> list[Path]:
        config = self._config()
        control = config.control
        own = [config.models.root, control.state_dir, control.cache_dir, control.runtime_dir, config.logs.dir]
        return [*own, *(entry.path for entry in config.disk.class_)]

    def _evaluate(self, figures: Iterable[Figure], looked: Iterable[str]) -> None:
        now, before = self._clock.monotonic(), self._alerts
        how = partial(ending, self._snapshot())
        self._alerts = evaluate(before, self._rules(), figures, looked, now, hold=self._holding(now), ending=how)
        if changed := turned(before, self._alerts):
            self._note(changed)
            self._save()
        self._announce(now)

    def _holding(self, now: float) -> bool:
        return now - self._began < self._hold_seconds

    def _note(self, changed: list[Alert]) -> None:
        """History, log and events for what began or ended."""
        for alert in changed:
            self._tell("alert", self._report(alert))
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

    # sending

    def _announce(self, now: float) -> None:
        """Sends what is due, and comes back when time alone will ask for more."""
        again = [self._quiet_due, due({f: a for f, a in self._alerts.items() if a.rule.metric in DAEMON_METRICS})]
        if self.notifier.channels:
            pace = NotificationPace(self._pace.wait, self._pace.interval, self._config().alerts.repeat)
            over = [alert for alert in self._alerts.values() if alert.state is AlertState.RESOLVED]
            ended = {alert.fingerprint: message_text.sentence(alert) for alert in over}
            step = plan(map(self._item, self._active(now)), self._told, now, pace, ended)
            self._told = step.told
            for message in step.messages:
                self._send(message)
            again.append(step.due)
        if self._holding(now):
            again.append(self._began + self._hold_seconds)
        if moments := [moment for moment in again if moment is not None]:
            self._look_at(max(min(moments), now + LEAST_SECONDS))

    def _active(self, now: float) -> list[Alert]:
        order = {"critical": 0, "warning": 1}
        active = [alert for alert in self._alerts.values() if alert.active(now)]
        return sorted(active, key=lambda a: (order[a.rule.severity], a.rule.metric != "needs_operator", a.since))

    def _item(self, alert: Alert) -> Item:
        about = alert.subject if alert.rule.metric == "alert_channel_failures" else ""
        since = alert.since if alert.fired is None else alert.fired
        return Item(alert.fingerprint, alert.rule.severity, since, message_text.sentence(alert), about)

    def _send(self, message: Notification) -> None:
        def write(address: Address) -> message_text.Text | None:
            return message_text.text(message, self._host, self._clock.monotonic(), address.text_bytes, address.label)

        def arrived() -> None:
            kept = self._kept.get(message.group)
            if kept is None or kept.last_sent < message.after.last_sent:
                self._kept[message.group] = message.after
                self._save()

        self.notifier.put(write, arrived)

    def _look_at(self, moment: float) -> None:
        """`look` happens again at this time, or earlier."""
        loop = asyncio.get_running_loop()
        when = loop.time() + max(0.0, moment - self._clock.monotonic())
        if self._next is not None and not self._next.cancelled() and loop.time() < self._next.when() <= when:
            return
        if self._next is not None:
            self._next.cancel()
        self._next = loop.call_at(when, self.look)

    def _save(self) -> None:
        self._save_again = True
        if self._saves is None or self._saves.done():
            self._saves = here().start("alerts to the state", self._save_all)

    async def _save_all(self) -> None:
        while self._save_again:
            self._save_again = False
            now, wall = self._clock.monotonic(), self._clock.wall()
            record = alert_record.record(self._alerts, self._kept, now, wall)
            with suppress(CannotKeep):  # logged where it happened
                await self._async_store.do(lambda store, record=record: store.put(**{alert_record.FACT: record}))  # type: ignore[misc]

    # events from other parts

    def worker_ended(self, ended: Ended) -> None:
        """A worker process is gone."""
        self.tally.ends["yes" if ended.retired else "no"] += 1
        if not ended.retired:
            self._ends.append(self._clock.monotonic())

    def heard(self, entry: HistoryEntry) -> None:
        """A line of history was kept."""
        self.tally.heard(entry)
        if bool(self._async_store.problem) != self._in_memory:  # a round may be a minute away
            self._in_memory = not self._in_memory
            self.look()

    # queries

    def active(self) -> list[AlertReport]:
        """The active alerts, the gravest first."""
        return [self._report(alert) for alert in self._active(self._clock.monotonic())]

    def alerts(self) -> AlertsAnswer:
        """Every alert that is not simply ok, and how the channels do."""
        now = self._clock.monotonic()
        active = self._active(now)
        told = {alert.fingerprint for alert in active}
        rest = [a for a in self._alerts.values() if a.fingerprint not in told and a.state is not AlertState.OK]
        channels = [
            ChannelReport(
                channel=channel.address.label,
                failures=channel.failures,
                because=channel.because,
                waiting=len(channel.queue),
                delivered=channel.counts.delivered,
                failed=channel.counts.failed,
                dropped=channel.counts.dropped,
            )
            for channel in self.notifier.channels
        ]
        shown = [*active, *sorted(rest, key=lambda a: (a.state is AlertState.RESOLVED, -a.since))]
        return AlertsAnswer([self._report(alert) for alert in shown], channels)

    def _report(self, alert: Alert) -> AlertReport:
        since = self._clock.wall() - (self._clock.monotonic() - alert.since)
        return AlertReport(
            name=alert.rule.name,
            subject=alert.subject,
            state=alert.state.value,
            severity=alert.rule.severity,
            metric=alert.rule.metric,
            value=None if alert.value is None else round(alert.value, 4),
            threshold=alert.rule.threshold,
            since=rfc3339(since),
            message=message_text.sentence(alert),
        )

    def disk(self) -> FullestDisk:
        """The fullest file system, as it was measured last."""
        spaces = [(m.space, m.mount) for m in self._measured[0].mounts if m.space] if self._measured else []
        if not spaces:
            return FullestDisk()
        space, mount = max(spaces, key=lambda pair: pair[0].used_percent)
        return FullestDisk(mount, round(space.used_percent, 1), space.free_bytes)

    def series(self) -> SeriesAnswer:
        """The last hour, for charts."""
        return self.monitor.series()

    def metrics(self) -> str:
        """Prometheus' text."""
        return metrics_export.exposition(
            self._snapshot(),
            self.tally,
            version=self._version,
            measured=self._measured,
            alerts=self._alerts,
            channels=self.notifier.channels,
            more=self.exposed,
        )

    async def test(self) -> AlertsTestAnswer:
        """A test message to every channel now; how each went."""
        self.notifier.configure(self._config().alerts.to)
        results = await self.notifier.test(message_text.test_text(self._host))
        failed = [result for result in results if not result.delivered]
        if not results:
            message = "cannot test: alerts.to names nobody"
        elif failed:
            message = f"cannot reach {len(failed)} of {len(results)} channels"
        else:
            message = f"{len(results)} channel{'s' if len(results) > 1 else ''} reached"
        return AlertsTestAnswer(bool(results) and not failed, message, results)


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
