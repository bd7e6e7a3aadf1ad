"""Decides the state of each alert from the figures: ok, pending, firing, resolved, or "no data" when it is unknown.

Pure. An alert fires when all figures during `for` were alarming. It ends only by a figure that is back at `clear`,
never by a missing figure. Times are monotonic seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from .rules import HealthRule

MAX_ALERTS: Final = 1000
SHOWN_RESOLVED_SECONDS: Final = 900.0
NO_DATA_SECONDS: Final = 300.0
"""So long without a figure is worth telling by itself."""


class AlertState(StrEnum):
    """The state of an alert."""

    OK = "ok"
    PENDING = "pending"
    FIRING = "firing"
    RESOLVED = "resolved"
    NO_DATA = "no data"


class Figure(Struct, frozen=True):
    """A measured value. It is None when it could not be measured; then `because` has the reason.

    Otherwise `because` may explain the value. If the value ends an alert, `because` is how the alert ended. With
    `expected`, there is a good reason for the value now, and it starts no alert.
    """

    metric: str
    value: float | None
    subject: str = ""
    because: str = ""
    expected: bool = False


class Alert(Struct, frozen=True):
    """One rule applied to one subject. `since` is when its state began; `fired` is when it began to fire, None after
    its end.

    `calm` is since when the figure has been back. `restored`: it fired before the daemon started and has not been
    measured since. `cause` has the value and reason of the last alarming figure. `ended` is how it ended, "" until
    then.
    """

    rule: HealthRule
    subject: str
    state: AlertState
    since: float
    value: float | None = None
    because: str = ""
    fired: float | None = None
    calm: float | None = None
    restored: bool = False
    cause: tuple[float, str] | None = None
    ended: str = ""

    @property
    def fingerprint(self) -> str:
        return f"{self.rule.name}:{self.subject}"

    def active(self, now: float) -> bool:
        """Whether the alert is worth a message: it fires, or it fired and is not measured now, or nothing is known for
        too long.
        """
        if self.state is AlertState.NO_DATA:
            return self.fired is not None or now - self.since >= max(NO_DATA_SECONDS, self.rule.for_seconds)
        return self.state is AlertState.FIRING


Alerts = Mapping[str, Alert]
Ending = Callable[[str, str], str]


def evaluate(
    alerts: Alerts,
    rules: Iterable[HealthRule],
    figures: Iterable[Figure],
    looked: Iterable[str],
    now: float,
    *,
    hold: bool = False,
    ending: Ending = lambda metric, subject: "",
) -> dict[str, Alert]:
    """The alerts after new figures. `figures` has every value of the metrics in `looked`; alerts on other metrics stay.

    With `hold`, restored alerts do not end yet: the daemon has just started and may not know everything. `ending` gives
    the text for an alert that ends without a figure.
    """
    rules, looked = tuple(rules), frozenset(looked)
    known: dict[str, dict[str, Figure]] = {}
    for figure in figures:
        known.setdefault(figure.metric, {})[figure.subject] = figure
    after: dict[str, Alert] = {}
    by_rule: dict[str, dict[str, Alert]] = {}
    for alert in alerts.values():
        by_rule.setdefault(alert.rule.name, {})[alert.subject] = alert
    for rule in rules:
        mine = by_rule.get(rule.name, {})
        if rule.metric not in looked:
            after |= {a.fingerprint: _under(a, rule) for a in mine.values()}
            continue
        for subject, figure in _subjects(rule, mine, known.get(rule.metric, {}), ending).items():
            before = mine.get(subject) or Alert(rule, subject, AlertState.OK, now)
            alert = step(_under(before, rule), figure, now, hold=hold)
            gone = subject not in known.get(rule.metric, {}) and alert.state is AlertState.OK
            if not gone and (before.fingerprint in alerts or len(after) < MAX_ALERTS):
                after[alert.fingerprint] = alert
    names = {rule.name for rule in rules}
    for alert in alerts.values():
        if alert.rule.name not in names and alert.fired is not None:
            after[alert.fingerprint] = _resolved(alert, now, "its rule was removed")
        elif alert.rule.name not in names and alert.state is AlertState.RESOLVED and not _over(alert, now):
            after[alert.fingerprint] = alert
    return after


def _under(alert: Alert, rule: HealthRule) -> Alert:
    """The alert with its rule as it is configured now."""
    return alert if alert.rule is rule else replace(alert, rule=rule)


def _subjects(
    rule: HealthRule, mine: Mapping[str, Alert], known: Mapping[str, Figure], ending: Ending
) -> dict[str, Figure]:
    """A figure for each subject that is known now or was known before."""
    shown = dict(known)
    for subject, alert in mine.items():
        if subject not in known:
            unknown = not rule.standing and not known
            value, because = (None, "not measured") if unknown else (rule.clear, "it is gone")
            if rule.standing:
                because = alert.because if alert.fired is None else ending(rule.metric, subject) or because
            shown[subject] = Figure(rule.metric, value, subject, because)
    if not shown and not rule.standing:
        shown[""] = Figure(rule.metric, None, "", "not measured")
    return shown


def step(alert: Alert, figure: Figure, now: float, *, hold: bool = False) -> Alert:
    """One alert after one figure."""
    rule, value = alert.rule, figure.value
    if value is None and figure.expected:
        return alert  # it cannot be known yet
    if value is None:
        since = alert.since if alert.state is AlertState.NO_DATA else now
        return replace(alert, state=AlertState.NO_DATA, since=since, value=None, because=figure.because, calm=None)
    if figure.expected and alert.state is AlertState.RESOLVED and not _over(alert, now):
        return alert  # how it ended stays to be read
    if (alert.value, alert.because) != (value, figure.because):
        alert = replace(alert, value=value, because=figure.because)
    if alert.fired is not None:
        return _fired(alert, value, now, hold)
    if figure.expected or not rule.alarming(value):
        if alert.state is AlertState.OK or (alert.state is AlertState.RESOLVED and not _over(alert, now)):
            return alert
        return replace(alert, state=AlertState.OK, since=now)
    if alert.state is not AlertState.PENDING:
        alert = replace(alert, state=AlertState.PENDING, since=now)
    if now - alert.since >= rule.for_seconds:
        cause = (value, figure.because)
        return replace(alert, state=AlertState.FIRING, since=now, fired=now, calm=None, cause=cause, ended="")
    return alert


def _fired(alert: Alert, value: float, now: float, hold: bool) -> Alert:
    """A firing alert after a figure: it continues to fire until the figure has been back for long enough."""
    assert alert.fired is not None
    firing = replace(alert, state=AlertState.FIRING, since=alert.fired, calm=None)
    if alert.rule.alarming(value):
        return replace(firing, restored=False, cause=(value, alert.because))
    if not alert.rule.cleared(value):
        return firing
    calm = now if alert.calm is None else alert.calm
    if (hold and alert.restored) or now - calm < alert.rule.keep_seconds:
        return replace(firing, calm=calm)
    measured = not alert.rule.standing
    return _resolved(alert, now, alert.because or (f"it is {value:.4g} again" if measured else ""))


def _resolved(alert: Alert, now: float, ended: str) -> Alert:
    """The alert that ended, with its values from while it fired."""
    value, because = alert.cause or (alert.value, "")
    return replace(
        alert, state=AlertState.RESOLVED, since=now, value=value, because=because, fired=None, calm=None,
        restored=False, ended=ended,
    )  # fmt: skip


def _over(alert: Alert, now: float) -> bool:
    return now - alert.since >= SHOWN_RESOLVED_SECONDS


def restore(fired: Mapping[str, float], rules: Iterable[HealthRule]) -> dict[str, Alert]:
    """Alerts that fired when a former daemon ended, by fingerprint and start; alerts of unknown rules are dropped."""
    by_name = {rule.name: rule for rule in rules}
    alerts = {}
    for fingerprint, since in fired.items():
        name, _, subject = fingerprint.partition(":")
        if rule := by_name.get(name):
            unsure = "not measured yet"
            alerts[fingerprint] = Alert(
                rule, subject, AlertState.FIRING, since, None, unsure, fired=since, restored=True
            )
    return alerts


def turned(before: Alerts, after: Alerts) -> list[Alert]:
    """The alerts that began to fire, and those that ended, between two evaluations."""
    fired = {f for f, alert in before.items() if alert.fired is not None}
    return [alert for f, alert in after.items() if (alert.fired is not None) != (f in fired)]


def due(alerts: Alerts) -> float | None:
    """When the next state may change only because time passes."""
    times = [a.since + a.rule.for_seconds for a in alerts.values() if a.state is AlertState.PENDING]
    times += [a.calm + a.rule.keep_seconds for a in alerts.values() if a.calm is not None]
    return min(times, default=None)
