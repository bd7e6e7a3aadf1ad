"""`GET /metrics` of the daemon: a snapshot of it and each worker's own report, in Prometheus' text
format.

Pure: a scrape measures nothing and sends nothing, so it costs a millisecond and cannot keep the daemon busy.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from msgspec import Struct, field

from ...worker.protocol import BUCKETS_SECONDS
from ...worker.shared.job_records import STATES
from ...worker.shared.prometheus_text import Exposition
from ..health.alerts import Alert
from ..health.delivery import AlertChannel
from ..health.metrics import METRICS, add_alerts, add_sample
from ..health.sampler import SystemSample
from ..models.lifecycle import VersionState
from ..models.snapshot import RootSeen
from ..state.store import HistoryEntry
from ..system.failures import Failures
from ..workers.traffic import Traffic
from . import views
from .alert_inputs import class_usage
from .snapshot import Snapshot

MAX_KINDS = 100
_DURATIONS = "modelward_version_request_duration_seconds"


class ExportTally(Struct):
    """What happened since the daemon began; only grows. `began` is wall seconds."""

    began: float
    events: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    judged: Counter[str] = field(default_factory=Counter)
    judged_seconds: dict[str, float] = field(default_factory=dict)

    def heard(self, entry: HistoryEntry) -> None:
        """A line of history was kept."""
        if entry.kind in self.events or len(self.events) < MAX_KINDS:
            self.events[entry.kind] += 1
        if entry.kind in ("accepted", "rejected"):
            gates = entry.detail.get("verdict", {}).get("gates", [])
            seconds = sum(float(gate.get("seconds", 0.0)) for gate in gates)
            self.judged[entry.kind] += 1
            self.judged_seconds[entry.kind] = self.judged_seconds.get(entry.kind, 0.0) + seconds


def exposition(
    seen: Snapshot,
    tally: ExportTally,
    *,
    version: str,
    measured: tuple[SystemSample, float] | None,
    alerts: Mapping[str, Alert],
    channels: Iterable[AlertChannel],
    more: Iterable[Callable[[Exposition], None]] = (),
) -> str:
    """All of it. `measured` is the last sample and when that was (wall seconds); `more` add what other parts know."""
    out = Exposition(METRICS)
    out.add("modelward_build_info", 1, version=version)
    out.add("modelward_start_time_seconds", tally.began)
    out.add("modelward_config_last_reload_successful", float(not seen.config_refused))
    _workers(out, seen)
    _versions(out, seen)
    _upkeep(out, seen)
    _jobs(out, seen)
    for kind, count in tally.events.items():
        out.add("modelward_events_total", count, kind=kind)
    for told in ("yes", "no"):
        out.add("modelward_worker_ends_total", tally.ends[told], told=told)
    for verdict in ("accepted", "rejected"):
        out.add("modelward_validation_duration_seconds", tally.judged[verdict], suffix="_count", verdict=verdict)
        seconds = tally.judged_seconds.get(verdict, 0.0)
        out.add("modelward_validation_duration_seconds", seconds, suffix="_sum", verdict=verdict)
    if measured is not None:
        add_sample(out, *measured)
    add_alerts(out, alerts, channels)
    for add in more:
        add(out)
    return out.text()


def expose_failures(failures: Failures, out: Exposition) -> None:
    """Each part of the daemon that fails now."""
    for failure in failures.current():
        out.add("modelward_controller_failed", 1, controller=failure.part)


def expose_traffic(traffic: Traffic, out: Exposition) -> None:
    """Requests, errors and durations by version and worker."""
    for (worker, version), answers in traffic.pairs.items():
        labels = {"worker": worker, "version": version}
        out.add("modelward_version_requests_total", answers.requests, **labels)
        out.add("modelward_version_request_errors_total", answers.errors, **labels)
        below = 0
        for bound, count in zip((*map(str, BUCKETS_SECONDS), "+Inf"), answers.buckets, strict=True):
            below += count
            out.add(_DURATIONS, below, suffix="_bucket", **labels, le=bound)
        out.add(_DURATIONS, answers.seconds, suffix="_sum", **labels)
        out.add(_DURATIONS, below, suffix="_count", **labels)


def _workers(out: Exposition, seen: Snapshot) -> None:
    workers = seen.workers
    out.add("modelward_ready", float(bool(workers.ready)))
    out.add("modelward_workers_wanted", workers.wanted)
    states = Counter(report.state for report in views.workers(workers))
    for state in ("ready", "loading", "idle", "retiring", "starting", "waiting", "blocked"):
        out.add("modelward_workers", states[state], state=state)
    for peer in workers.peers:
        beat = peer.beat
        labels = {"worker": peer.name, "version": peer.serving, "attached": str(peer.attached).lower()}
        out.add("modelward_worker_info", 1, **labels)
        out.add("modelward_worker_requests_total", beat.requests, worker=peer.name)
        out.add("modelward_worker_request_errors_total", beat.errors, worker=peer.name)
        out.add("modelward_worker_requests_inflight", beat.inflight, worker=peer.name)
        out.add("modelward_worker_request_duration_p95_seconds", beat.p95_seconds, worker=peer.name)
        out.add("modelward_worker_resident_memory_bytes", beat.rss_bytes or None, worker=peer.name)


def _upkeep(out: Exposition, seen: Snapshot) -> None:
    keeping = seen.upkeep
    out.add("modelward_sweeps_total", keeping.sweeps)
    out.add("modelward_sweep_removed_files_total", keeping.removed_files)
    out.add("modelward_sweep_removed_bytes_total", keeping.removed_bytes)
    out.add("modelward_sweep_shortfalls", len(keeping.trouble))
    out.add("modelward_state_in_memory", float(bool(seen.state_problem)))
    for name, used, quota in class_usage(seen):
        out.add("modelward_class_used_bytes", used, **{"class": name})
        out.add("modelward_class_quota_bytes", quota or None, **{"class": name})


def _jobs(out: Exposition, seen: Snapshot) -> None:
    jobs, limits = seen.jobs, seen.config.jobs
    for state in STATES:
        out.add("modelward_jobs", jobs.counts.get(state, 0), state=state)
    out.add("modelward_jobs_bytes", jobs.bytes)
    out.add("modelward_jobs_used_ratio", jobs.used_percent(limits.max_jobs, limits.max_bytes) / 100)
    out.add("modelward_jobs_still_seconds", jobs.still_seconds)
    out.add("modelward_job_callbacks", jobs.callbacks_waiting, state="waiting")
    out.add("modelward_job_callbacks", jobs.callbacks_given_up, state="given_up")


def _versions(out: Exposition, seen: Snapshot) -> None:
    activation = seen.activation
    states = Counter(entry.state for entry in seen.versions.entries)
    for state in VersionState:
        out.add("modelward_versions", states[state], state=state.value)
    out.add("modelward_versions_held", len(activation.held))
    out.add("modelward_model_root_present", float(isinstance(seen.versions.sight, RootSeen)))
    out.add("modelward_watch_active", float(seen.watch[0] == "watching"))
    out.add("modelward_rollout_in_progress", float(activation.current is not None))
    if (word := activation.position.word) is not None:
        out.add("modelward_live_version_info", 1, version=word.name)
    if (serving := activation.position.serving) is not None:
        labels = {"version": serving.version, "digest": serving.digest}
        out.add("modelward_serving_version_info", 1, **labels)
