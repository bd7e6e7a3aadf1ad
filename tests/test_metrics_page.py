"""The documents, the shipped rules and the dashboard speak only of metrics that exist."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

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
TWO_INSTANCES = """
rule_files: [RULES]
evaluation_interval: 30s
tests:
  - interval: 30s
    input_series:
      - {series: 'modelward_start_time_seconds{instance="a",job="m"}', values: "100x60"}
      - {series: 'modelward_start_time_seconds{instance="b",job="m"}', values: "100x10 stale"}
    alert_rule_test:
      - {eval_time: 4m, alertname: ModelwardDown, exp_alerts: []}
      - {eval_time: 10m, alertname: ModelwardNoneScraped, exp_alerts: []}
      - eval_time: 10m
        alertname: ModelwardDown
        exp_alerts:
          - exp_labels: {severity: critical, instance: b, job: m}
            exp_annotations:
              summary: "the daemon of b is not scraped, and was within a day; workers may still serve"
"""
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
    for written, labels in used:
        name = re.sub(r"_(bucket|sum|count)$", "", written)
        assert (name in TABLE and TABLE[name].type == "histogram") if name != written else name in TABLE, written
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


def test_the_dashboard_is_what_grafana_itself_understands() -> None:
    """Read by the types that are made from Grafana's schema and written again, nothing of it is lost."""
    grafana = pytest.importorskip("grafana_foundation_sdk.models.dashboard", reason="no grafana-foundation-sdk here")
    encoder = pytest.importorskip("grafana_foundation_sdk.cog.encoder")
    board = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    again = json.loads(encoder.JSONEncoder().encode(grafana.Dashboard.from_json(board)))
    assert lost(board, again) == []


def lost(given: Any, again: Any, place: str = "") -> list[str]:
    """What of `given` is not in `again`, which may hold more."""
    if isinstance(given, dict) and isinstance(again, dict):
        return [line for key in given for line in lost(given[key], again.get(key), f"{place}.{key}")]
    if isinstance(given, list) and isinstance(again, list) and len(given) == len(again):
        return [line for n, pair in enumerate(zip(given, again, strict=True)) for line in lost(*pair, f"{place}[{n}]")]
    return [] if given == again else [f"{place}: {given!r} became {again!r}"]


@pytest.mark.skipif(not shutil.which("promtool"), reason="no promtool here: apt-get install prometheus")
def test_one_of_two_instances_that_is_down_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "tests.yml").write_text(TWO_INSTANCES.replace("RULES", str(RULES)), encoding="utf-8")
    done = subprocess.run(
        ["promtool", "test", "rules", tmp_path / "tests.yml"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


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
