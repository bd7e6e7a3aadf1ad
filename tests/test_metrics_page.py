"""The documents, the shipped rules and the dashboard speak only of metrics that exist."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from tests.metrics_page import page

from modelward.daemon.config.alert_metrics import FIGURES
from modelward.daemon.health import metrics as daemon
from modelward.daemon.health.sampler import MEASURED
from modelward.daemon.status.alert_inputs import DAEMON_METRICS
from modelward.worker.http import metrics as worker
from modelward.worker.shared.prometheus_text import Metric

ROOT = Path(__file__).resolve().parent.parent
RULES, DASHBOARD = ROOT / "etc/prometheus-rules.yml", ROOT / "etc/grafana-dashboard.json"
TABLE = {metric.name: metric for metric in daemon.METRICS}


def selectors(text: str) -> list[tuple[str, set[str]]]:
    """Each metric that is named, with the labels it is selected by."""
    found = re.findall(r"\b(modelward_[a-z0-9_]+)\b(?:\{([^}]*)\})?", text)
    return [(name, set(re.findall(r"(\w+)\s*=", labels))) for name, labels in found]


def test_the_page_is_what_the_tables_say() -> None:
    assert (ROOT / "docs/metrics.md").read_text(encoding="utf-8") == page()


@pytest.mark.parametrize("path", [RULES, DASHBOARD], ids=lambda path: path.name)
def test_only_names_and_labels_that_exist_are_used(path: Path) -> None:
    text = path.read_text(encoding="utf-8").replace('\\"', '"')
    used = selectors(text)
    assert len(used) > 15
    for name, labels in used:
        assert name in TABLE, name
        assert labels <= {*TABLE[name].labels, "instance", "job"}, (name, labels)


def test_events_that_the_rules_ask_for_are_told_by_somebody() -> None:
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "daemon").rglob("*.py"))
    for kind in re.findall(r'kind="([a-z-]+)"', RULES.read_text(encoding="utf-8")):
        assert f'"{kind}"' in source, kind


def test_the_dashboard_is_whole() -> None:
    board = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    assert all(target["expr"] for panel in board["panels"] for target in panel["targets"])


@pytest.mark.parametrize("metric", [*daemon.METRICS, *worker.METRICS], ids=lambda metric: metric.name)
def test_names_follow_prometheus_conventions(metric: Metric) -> None:
    assert re.fullmatch(r"modelward_[a-z][a-z0-9_]*", metric.name)
    assert metric.name.endswith("_total") == (metric.type == "counter")
    assert not re.search(r"percent|_ms|_millis|_kb|_mb|_minutes", metric.name)
    assert metric.help.endswith(".")
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", label) and label != "le" for label in metric.labels)


def test_the_same_name_means_the_same_in_daemon_and_worker() -> None:
    for metric in worker.METRICS:
        if metric.name in TABLE:
            assert TABLE[metric.name] == metric


def test_every_figure_is_measured_by_somebody() -> None:
    assert {*MEASURED, *DAEMON_METRICS} == set(FIGURES)
