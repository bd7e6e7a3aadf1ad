"""GET /metrics of a worker: what Prometheus reads of it after real requests."""

from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests import asking
from tests.support import eventually
from tests.worker.http.serving import (
    Served,
    post,
    serving,
    wav,
)

from modelward.worker.http.metrics import METRICS
from modelward.worker.stats import BUCKETS_SECONDS, Counters


def scrape(served: Served) -> dict[tuple[str, ...], float]:
    """Values by name and the labels' values but for the worker's name."""
    response = asking.get(f"{served.url}/metrics")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = list(text_string_to_metric_families(response.text))
    table = {m.name.removesuffix("_total") if m.type == "counter" else m.name: m for m in METRICS}
    for family in families:
        assert (family.type, family.documentation) == (table[family.name].type, table[family.name].help)
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == set(table[family.name].labels)
            assert sample.labels["worker"] == "w1"
    return {
        (s.name, *sorted(value for key, value in s.labels.items() if key != "worker")): s.value
        for family in families
        for s in family.samples
    }


def test_counts_answers_their_time_and_their_audio(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        before = scrape(served)
        assert before["modelward_worker_requests_total",] == 0
        for body in (wav(2), wav(2), b"no audio"):
            post(served, body)
        served.models["v1"].fails = True
        post(served, wav(1))
        eventually(lambda: scrape(served)["modelward_worker_requests_total",] == 4)
        values = scrape(served)
    assert values["modelward_worker_request_errors_total",] == 1
    assert [values["modelward_worker_responses_total", code] for code in ("2xx", "4xx", "5xx")] == [2, 1, 1]
    assert values["modelward_worker_audio_seconds_total",] == pytest.approx(4.0)
    assert values["modelward_worker_request_duration_seconds_count",] == 4
    assert values["modelward_worker_request_duration_seconds_bucket", "+Inf"] == 4
    assert values["modelward_worker_request_duration_seconds_sum",] > 0
    assert values["modelward_worker_requests_inflight",] == 0
    assert values["modelward_worker_model_info", "v1", "v1" * 8] == 1


def test_a_worker_without_a_model_answers_too(tmp_path: Path) -> None:
    with serving(tmp_path, "") as served:
        assert not [key for key in scrape(served) if key[0] == "modelward_worker_model_info"]


def test_asks_for_the_token_where_one_is_needed(tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text("s3cret\n")
    with serving(tmp_path, token_file=str(tmp_path / "tokens")) as served:
        assert asking.get(f"{served.url}/metrics").status_code == 401
        assert asking.get(f"{served.url}/metrics", headers={"Authorization": "Bearer s3cret"}).status_code == 200


def test_a_duration_on_a_bound_falls_into_its_bucket() -> None:
    counters = Counters()
    for seconds in (0.005, 0.0051, 61.0, None):
        counters.begin()
        counters.end(200, seconds)
    assert counters.work.buckets[:2] == [1, 1]
    assert counters.work.buckets[-1] == 1
    assert len(counters.work.buckets) == len(BUCKETS_SECONDS) + 1
    assert counters.answers == {"2xx": 4, "4xx": 0, "5xx": 0}
