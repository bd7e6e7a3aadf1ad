"""`GET /metrics`: this worker's metrics in Prometheus' text format.

All workers share one listening socket, so each scrape reaches any one of them; the label names it. The daemon has the
metrics of all of them, with the same names and meanings.
"""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from ..shared.job_records import DONE, FAILED
from ..shared.prometheus_text import CONTENT_TYPE, Exposition, Metric
from ..stats import Histogram
from .context import Service

_WORKER: Final = ("worker",)
METRICS: Final = (
    Metric("modelward_worker_requests_total", "counter", "Requests for inference answered by a worker.", _WORKER),
    Metric("modelward_worker_request_errors_total", "counter", "Of these, answers of 500 and above.", _WORKER),
    Metric("modelward_worker_requests_inflight", "gauge", "Requests in work or waiting in a worker.", _WORKER),
    Metric("modelward_worker_resident_memory_bytes", "gauge", "Memory of a worker.", _WORKER),
    Metric("modelward_worker_responses_total", "counter", "The same answers by class.", ("worker", "code")),
    Metric(
        "modelward_worker_request_duration_seconds",
        "histogram",
        "From the last byte of a request to its answer, of those that a model worked on.",
        _WORKER,
    ),
    Metric(
        "modelward_worker_queue_wait_seconds",
        "histogram",
        "How long a clip's piece, or another request, that was ready for the model waited for its turn.",
        _WORKER,
    ),
    Metric(
        "modelward_worker_runs",
        "gauge",
        "Runs of the model in progress, on short clips and on pieces of long ones.",
        _WORKER,
    ),
    Metric("modelward_worker_audio_seconds_total", "counter", "Audio that was turned into text.", _WORKER),
    Metric("modelward_worker_jobs_total", "counter", "Transcription jobs that a worker ended.", ("worker", "state")),
    Metric(
        "modelward_worker_log_lines_dropped_total",
        "counter",
        "Log lines that a worker could not write: the disk was full, or did not answer.",
        _WORKER,
    ),
    Metric("modelward_worker_queue_length", "gauge", "Requests admitted and not answered yet.", _WORKER),
    Metric("modelward_worker_queue_limit", "gauge", "Requests that may wait; beyond, 503.", _WORKER),
    Metric("modelward_worker_model_info", "gauge", "Always 1; what it serves.", ("worker", "version", "digest")),
    Metric("modelward_worker_draining", "gauge", "1 while it takes no new connections.", _WORKER),
)


async def metrics(request: Request) -> Response:
    """The text. It does not use the model and waits for nothing."""
    service: Service = request.app.state.service
    return Response(exposition(service), headers={"content-type": CONTENT_TYPE})


def exposition(service: Service) -> str:
    """This worker's current metrics."""
    out, counters, name = Exposition(METRICS), service.counters, service.settings.name
    out.add("modelward_worker_requests_total", counters.requests, worker=name)
    out.add("modelward_worker_request_errors_total", counters.errors, worker=name)
    out.add("modelward_worker_requests_inflight", counters.inflight, worker=name)
    out.add("modelward_worker_resident_memory_bytes", counters.resident.bytes(), worker=name)
    out.add("modelward_worker_audio_seconds_total", counters.audio_seconds, worker=name)
    out.add("modelward_worker_log_lines_dropped_total", service.logs.lost, worker=name)
    out.add("modelward_worker_runs", service.work.runs, worker=name)
    out.add("modelward_worker_queue_length", service.work.load, worker=name)
    out.add("modelward_worker_queue_limit", service.settings.queue, worker=name)
    out.add("modelward_worker_draining", float(service.draining()), worker=name)
    for state in (DONE, FAILED):
        out.add("modelward_worker_jobs_total", counters.jobs[state], worker=name, state=state)
    for code, count in counters.answers.items():
        out.add("modelward_worker_responses_total", count, worker=name, code=code)
    if (current := service.engine.current) is not None:
        labels = {"version": current.version, "digest": current.digest}
        out.add("modelward_worker_model_info", 1, worker=name, **labels)
    _histogram(out, "modelward_worker_request_duration_seconds", counters.work, name)
    _histogram(out, "modelward_worker_queue_wait_seconds", counters.waits, name)
    return out.text()


def _histogram(out: Exposition, metric: str, histogram: Histogram, worker: str) -> None:
    below = 0
    for bound, count in zip((*map(str, histogram.bounds), "+Inf"), histogram.buckets, strict=True):
        below += count
        out.add(metric, below, suffix="_bucket", worker=worker, le=bound)
    out.add(metric, histogram.seconds, suffix="_sum", worker=worker)
    out.add(metric, below, suffix="_count", worker=worker)
