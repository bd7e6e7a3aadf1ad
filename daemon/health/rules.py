"""The rules for alerts: those that the operator configured, and the built-in ones.

Pure. A configured rule replaces the built-in rule for the same figure.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

from msgspec import Struct

from ..config.alert_metrics import TOO_LITTLE
from ..config.schema_alerts import AlertRule
from ..units import MINUTE

Severity = Literal["critical", "warning"]
SETTLED_SECONDS: Final = MINUTE
"""How long a measured figure has to be back before its alert ends, at least."""


class HealthRule(Struct, frozen=True):
    """A condition on one figure. An alert fires when `metric` is above `threshold` for `for_seconds`, or below it if
    not `over`. The alert ends when the figure is back at `clear` for `keep_seconds`.

    `name` is unique among the rules. With `standing`, a figure that is not reported means that all is well. Without it,
    a figure that is not reported means that the state is unknown.
    """

    name: str
    metric: str
    threshold: float
    clear: float
    for_seconds: float = 0.0
    keep_seconds: float = 0.0
    over: bool = True
    severity: Severity = "warning"
    standing: bool = False

    def alarming(self, value: float) -> bool:
        return value > self.threshold if self.over else value < self.threshold

    def cleared(self, value: float) -> bool:
        return value <= self.clear if self.over else value >= self.clear


def _gauge(
    metric: str, threshold: float, clear: float, for_seconds: float, severity: Severity = "warning"
) -> HealthRule:
    keep = max(for_seconds, SETTLED_SECONDS)
    return HealthRule(metric, metric, threshold, clear, for_seconds, keep, severity=severity)


def _condition(
    metric: str, severity: Severity = "warning", *, above: float = 0.0, for_seconds: float = 0.0
) -> HealthRule:
    return HealthRule(metric, metric, above, above, for_seconds, severity=severity, standing=True)


BUILT_IN: Final = (
    _gauge("disk_used_percent", 90, 85, 5 * MINUTE, "critical"),
    HealthRule("disk_full_hours", "disk_full_hours", 12, 24, 10 * MINUTE, 10 * MINUTE, over=False, standing=True),
    _gauge("inode_used_percent", 90, 85, 5 * MINUTE, "critical"),
    _gauge("memory_used_percent", 90, 85, 5 * MINUTE),
    _gauge("cpu_used_percent", 90, 80, 15 * MINUTE),
    _condition("mount_stuck", "critical"),
    _condition("oom_kills", "critical"),
    HealthRule("workers_ready", "workers_ready", 1, 1, 15.0, over=False, severity="critical"),
    _condition("workers_missing", for_seconds=2 * MINUTE),
    _condition("worker_refusing", "critical"),
    _condition("worker_stuck"),
    _condition("worker_restarts", above=2),
    _condition("probe_failed", "critical"),
    _condition("version_rejected"),
    _condition("version_unjudged"),
    _condition("version_unchosen"),
    _condition("misplaced_link"),
    _condition("rollout_failed"),
    _condition("needs_operator", "critical"),
    _condition("root_absent", "critical"),
    _condition("watch_lost"),
    _condition("sweep_shortfall"),
    _condition("jobs_used_percent", above=90),
    _condition("jobs_still_seconds", above=15 * MINUTE),
    _condition("config_refused"),
    _condition("state_in_memory", "critical"),
    _condition("controller_failed", "critical"),
    _condition("tokens_unusable"),
    _condition("alert_channel_failures", above=2),
    _condition("heartbeat_failures", above=2),
    _condition("fleet_away"),
    _condition("fleet_blocked"),
    _condition("fleet_halted"),
)
STANDING: Final = frozenset(rule.metric for rule in BUILT_IN if rule.standing)
CRITICAL: Final = frozenset(rule.metric for rule in BUILT_IN if rule.severity == "critical")


def rules(given: Iterable[AlertRule]) -> tuple[HealthRule, ...]:
    """The configured rules, then each built-in rule whose figure has none. If a figure has several rules, their names
    hold the threshold.

    A built-in rule about too little stays beside a configured rule about too much.
    """
    given = tuple(given)
    count: dict[str, int] = {}
    for rule in given:
        count[rule.metric] = count.get(rule.metric, 0) + 1
    made: dict[str, HealthRule] = {}
    for rule in given:
        over = rule.below is None
        threshold = rule.below if rule.below is not None else rule.above if rule.above is not None else 0.0
        alone = count[rule.metric] == 1 and (rule.metric not in TOO_LITTLE or not over)
        name = rule.metric if alone else f"{rule.metric}{'>' if over else '<'}{threshold:g}"
        standing = rule.metric in STANDING
        made.setdefault(
            name,
            HealthRule(
                name=name,
                metric=rule.metric,
                threshold=threshold,
                clear=rule.clear,
                for_seconds=rule.for_,
                keep_seconds=0.0 if standing else max(rule.for_, SETTLED_SECONDS),
                over=over,
                severity="critical" if rule.metric in CRITICAL else "warning",
                standing=standing,
            ),
        )
    low = {rule.metric for rule in given if rule.below is not None}
    kept = (r for r in BUILT_IN if r.metric not in count or (r.metric in TOO_LITTLE and r.metric not in low))
    return (*made.values(), *kept)
