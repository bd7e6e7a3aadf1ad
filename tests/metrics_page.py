"""Writes docs/metrics.md from the tables: `python -m tests.metrics_page > docs/metrics.md`. A test compares the two."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from modelward.daemon.config.alert_metrics import FIGURES
from modelward.daemon.health import metrics as daemon
from modelward.daemon.health.rules import BUILT_IN, HealthRule
from modelward.daemon.units import show_duration
from modelward.worker.http import metrics as worker
from modelward.worker.shared.prometheus_text import Metric

_HEAD = """# Metrics and alerts

Made from the tables in the code by `python -m tests.metrics_page`.

## Daemon: `GET /metrics` on `api.sock` and on the panel's address

The panel's address asks for a [token](operating.md#who-may-use-the-panel), also on the machine itself.

Each worker's figures are its own last word over the worker socket; nothing is asked of a worker for a scrape. What is
not known at the moment is absent, never 0.

"""
_WORKER = """
## Worker: `GET /metrics` on the service's port

Behind one port each scrape meets some worker; the label `worker` says which. Names that the daemon has too mean the
same.

"""
_FIGURES = """
## Figures that can raise an alert: `metric` in `[[monitor.alert]]`

A figure with several subjects (mounts, workers, versions, channels) raises an alert for each.

"""
_RULES = """
## Alerts that are always there

A rule of your own on the same figure takes the place of these. `for`: so long without a break. An alert ends when its
figure is back at `ends at`; a measured one has to stay there for as long as `for`, and a minute at least. A figure that
is missing is "no data": that never ends an alert, and is told by itself after five minutes.

"""


def page() -> str:
    """The whole page."""
    figures = [f"| `{name}` | {meaning} |" for name, meaning in FIGURES.items()]
    rules = [_rule(rule) for rule in BUILT_IN]
    return "".join(
        [
            _HEAD,
            _metrics(daemon.METRICS),
            _WORKER,
            _metrics(worker.METRICS),
            _FIGURES,
            "\n".join(["| figure | what it is |", "|---|---|", *figures, ""]),
            _RULES,
            "\n".join(["| figure | fires | for | ends at | severity |", "|---|---|---|---|---|", *rules, ""]),
        ]
    )


def _metrics(table: Iterable[Metric]) -> str:
    rows = [
        f"| `{m.name}` | {m.type} | {', '.join(f'`{label}`' for label in m.labels) or '-'} | {m.help} |" for m in table
    ]
    return "\n".join(["| name | type | labels | what it is |", "|---|---|---|---|", *rows, ""])


def _rule(rule: HealthRule) -> str:
    fires = f"{'above' if rule.over else 'below'} {rule.threshold:g}"
    lasting = show_duration(rule.for_seconds) if rule.for_seconds else "at once"
    return f"| `{rule.metric}` | {fires} | {lasting} | {rule.clear:g} | {rule.severity} |"


if __name__ == "__main__":
    sys.stdout.write(page())
