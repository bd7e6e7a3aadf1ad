"""Sends the planner's messages to the channels, and records which alerts were sent and what the
channels took.

`health.notification_planner` decides what to send. Invariant: a message counts as sent only when a channel took it, so
after a crash it is sent twice rather than never.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from msgspec.structs import replace

from ..answers.alerts import AlertsTestAnswer
from ..config.load import Config
from ..config.local_times import zone_of
from ..health import message_text
from ..health.addresses import Address, receivers
from ..health.alert_record import MAX_MISSED
from ..health.alerts import Alert
from ..health.delivery import Notifier, Outcome, Sender, send_in_child
from ..health.notification_planner import (
    GroupNotified,
    HeldBack,
    Item,
    MissedAlert,
    Notification,
    NotificationPace,
    plan,
)
from ..health.quiet_times import clock_text
from ..health.wording import Wording
from ..system.clock import Clock


class Notifications:
    """See the module. `told` and `missed` count a message once it is queued; `kept` and `kept_missed`, which the state
    holds, once a channel took it. `changed` is called when these differ from what the state holds."""

    def __init__(
        self,
        config: Callable[[], Config],
        clock: Clock,
        *,
        host: str,
        happened: Callable[[], None],
        changed: Callable[[], None],
        sender: Sender | None = None,
        pace: NotificationPace | None = None,
    ) -> None:
        self._config, self._clock, self._host, self._changed = config, clock, host, changed
        self._pace = pace or NotificationPace()
        self.notifier = Notifier(clock, happened, sender or self._send_in_child)
        self._configured: object = None
        self.told: dict[str, GroupNotified] = {}
        self.kept: dict[str, GroupNotified] = {}
        self.missed: dict[str, tuple[MissedAlert, ...]] = {}
        self.kept_missed: dict[str, tuple[MissedAlert, ...]] = {}

    def take_up(self, told: Mapping[str, GroupNotified], missed: Mapping[str, tuple[MissedAlert, ...]]) -> None:
        """Sets what a former daemon sent, and what it held back."""
        self.told, self.kept = dict(told), dict(told)
        self.missed, self.kept_missed = dict(missed), dict(missed)

    def configure(self) -> None:
        """Sets the receivers to those of the configuration in force. What a removed one did not take is sent anew."""
        alerts = self._config().alerts
        if alerts is not self._configured:
            self._configured = alerts
            if self.notifier.configure(receivers(alerts)):
                self.told, self.missed = dict(self.kept), dict(self.kept_missed)

    async def _send_in_child(self, address: Address, text: message_text.Text) -> Outcome:
        return await send_in_child(address, text, ca_file=self._config().alerts.ca_file)

    @property
    def _wording(self) -> Wording:
        alerts = self._config().alerts
        return Wording(alerts.keyword, alerts.template)

    def is_told(self, fingerprint: str) -> bool:
        """Whether a message about the start of this alert was sent."""
        return any(fingerprint in told.firing for told in self.told.values())

    def miss(self, alert: Alert, began: float) -> None:
        """Keeps an alert that came and went while it was held back, for a later message."""
        zone, wall = zone_of(self._config().alerts.time_zone), self._clock.wall()
        times = f"{clock_text(wall - self._clock.monotonic() + began, zone)} to {clock_text(wall, zone)}"
        missed = MissedAlert(alert.rule.name, alert.fingerprint, f"{times}: {message_text.sentence(alert)}")
        group = alert.rule.severity
        for each in (self.missed, self.kept_missed):
            each[group] = (*each.get(group, ()), missed)[-MAX_MISSED:]

    def announce(self, items: Iterable[Item], held: HeldBack, ends: Mapping[str, str]) -> float | None:
        """Sends what is due. Returns when to call it again. `ends` has the text of how alerts ended, by fingerprint."""
        served = {severity for channel in self.notifier.channels for severity in channel.address.severities}
        if not served:
            return None
        items = [item for item in items if item.group in served]
        pace = NotificationPace(self._pace.wait, self._pace.interval, self._config().alerts.repeat)
        step = plan(items, self.told, self._clock.monotonic(), pace, held)
        self.told = step.told
        for message in step.messages:
            if message.missed:
                self.missed[message.group] = _without(self.missed, message)
            resolved = tuple((f, message_text.over(text, ends.get(f, ""))) for f, text in message.resolved)
            self._send(replace(message, resolved=resolved))
        return step.due

    def _send(self, message: Notification) -> None:
        def write(address: Address) -> message_text.Text | None:
            wording = self._wording
            now, room = self._clock.monotonic(), wording.room(address)
            text = message_text.text(message, self._host, now, room, address.label, self._config().alerts.language)
            return None if text is None else wording.worded(text, address)

        def arrived() -> None:
            if message.missed:
                self.kept_missed[message.group] = _without(self.kept_missed, message)
                self._changed()
            kept = self.kept.get(message.group)
            if kept is None or kept.last_sent < message.after.last_sent:
                self.kept[message.group] = message.after
                self._changed()

        self.notifier.put(write, arrived, lambda address: message.group in address.severities)

    def send_text(self, words: Callable[[str, int], message_text.Text]) -> None:
        """A message that is no alert, for the main receivers. `words` is given the host's name and the room."""
        wording = self._wording

        def write(address: Address) -> message_text.Text:
            return wording.worded(words(self._host, wording.room(address)), address)

        self.notifier.put(write, to=lambda address: address.main)

    async def send_test(self) -> AlertsTestAnswer:
        """Sends a test message to every channel now; returns each result."""
        self.configure()
        text, wording = message_text.test_text(self._host, self._config().alerts.language), self._wording
        results = await self.notifier.test(lambda address: wording.worded(text, address))
        failed = [result for result in results if not result.delivered]
        if not results:
            message = "cannot test: the configuration names nobody in alerts.to, alerts.route and alerts.webhook"
        elif failed:
            message = f"cannot reach {len(failed)} of {len(results)} channels"
        else:
            message = f"{len(results)} channel{'s' if len(results) > 1 else ''} reached"
        return AlertsTestAnswer(bool(results) and not failed, message, results)


def _without(missed: Mapping[str, tuple[MissedAlert, ...]], message: Notification) -> tuple[MissedAlert, ...]:
    """What of its group the message does not hold."""
    return tuple(each for each in missed.get(message.group, ()) if each.text not in message.missed)
