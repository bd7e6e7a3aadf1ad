"""The state of the service as figures for alerts. Pure: a snapshot in, figures out.

It reports what is true now or has just happened. An old rejected version that no one requests is not reported. A
version that changed a moment ago raises no alert yet: it may be a copy under way.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Final

from ..health.alerts import Figure
from ..health.delivery import AlertChannel
from ..models.catalog import CatalogEntry
from ..models.lifecycle import VersionState
from ..models.settle import NOT_JUDGED, quiet_at
from ..models.snapshot import RootSeen
from ..system.failures import Failures
from ..version_order import is_higher
from ..workers.pool_planner import Phase
from ..workers.rollout_executor import Rollout
from .snapshot import ActivationSeen, Snapshot
from .unchosen_versions import unchosen_versions

DAEMON_METRICS: Final = (
    "workers_ready", "workers_missing", "worker_restarts", "version_rejected", "version_unjudged", "rollout_failed",
    "needs_operator", "root_absent", "watch_lost", "config_refused", "alert_channel_failures", "sweep_shortfall",
    "class_used_percent", "worker_refusing", "worker_stuck", "tokens_unusable", "misplaced_link", "state_in_memory",
    "controller_failed", "version_unchosen", "jobs_used_percent", "jobs_still_seconds", "heartbeat_failures",
    "probe_failed", "disk_full_hours", "fleet_away", "fleet_blocked", "fleet_halted",
)  # fmt: skip
REJECTED_SECONDS: Final = 3600.0
ROLLOUT_SECONDS: Final = 86400.0
MAX_VERSIONS: Final = 50
STILL_SECONDS: Final = 30.0
"""A first judgement that makes no progress for so long is worth an alert."""
MAX_REASON: Final = 500


def alert_figures(seen: Snapshot, *, restarts: int, channels: Iterable[AlertChannel]) -> list[Figure]:
    """Everything that SYMPTOMS names, as it is now. `restarts` in the last ten minutes."""
    figures = [*_workers(seen), *_versions(seen), *_unjudged(seen), *_upkeep(seen)]
    figures.append(Figure("worker_restarts", float(restarts)))
    if complaint := seen.activation.complaint:
        about = seen.versions.get(seen.activation.complaint_about)
        expected = about is not None and alarming_at(seen, about) > seen.now
        figures.append(Figure("needs_operator", 1.0, "", complaint, expected))
    sight, (watch, because) = seen.versions.sight, seen.watch
    if not isinstance(sight, RootSeen):
        figures.append(Figure("root_absent", 1.0, "", sight.because))
    elif watch == "polling":  # without a root there is nothing to watch
        figures.append(Figure("watch_lost", 1.0, "", because))
    figures += _jobs(seen)
    if problem := seen.state_problem:
        figures.append(Figure("state_in_memory", 1.0, "", problem[:MAX_REASON]))
    if refused := seen.config_refused:
        figures.append(Figure("config_refused", 1.0, "", refused))
    for channel in channels:
        failures = float(channel.failures)
        figures.append(Figure("alert_channel_failures", failures, channel.address.label, channel.because))
    return figures


def failed_controllers(failures: Failures) -> list[Figure]:
    """Each part of the daemon that fails now, with its exception."""
    return [Figure("controller_failed", 1.0, failure.part, failure.because) for failure in failures.report()]


def _workers(seen: Snapshot) -> Iterator[Figure]:
    workers, serving = seen.workers, seen.activation.position.serving
    own = sum(peer.ready and not peer.attached for peer in workers.peers)
    because = "" if workers.ready else _nothing_yet(seen) if serving is None else f"{serving.version} is not loaded"
    expected = _on_its_way(seen)
    yield Figure("workers_ready", float(workers.ready), "", because, expected)
    blocked = next((pending.blocked for pending in workers.pending_starts if pending.blocked), "")
    missing = max(0, workers.wanted - own) if serving is not None else 0
    yield Figure("workers_missing", float(missing), "", blocked, expected)
    for peer in workers.peers:
        if peer.beat.refusing:
            yield Figure("worker_refusing", 1.0, peer.name, peer.beat.refusing[:MAX_REASON])


def _nothing_yet(seen: Snapshot) -> str:
    hindered = next((e.waiting for e in seen.versions.entries if e.waiting.startswith(NOT_JUDGED)), "")
    return f"nothing is served yet: {hindered}" if hindered else "nothing is served yet"


def _on_its_way(seen: Snapshot) -> bool:
    """Whether the first version is being validated or loaded and makes progress, which takes minutes on a
    slow machine.

    A rollout and a start have their own limits. A worker that died shows that it is not the first start.
    """
    if seen.versions.busy:
        return seen.activation.position.serving is None and seen.versions.still_seconds < STILL_SECONDS
    current = seen.activation.current
    if current is not None:
        return current.old is None and current.origin != "converge"
    processes = seen.workers.processes
    first = all(
        process.failures == 0 and process.overdue_since is None and process.ready_at is None for process in processes
    )
    return first and any(process.phase is Phase.STARTING for process in processes)


def _versions(seen: Snapshot) -> Iterator[Figure]:
    failed = _failed_rollout(seen.activation, seen.now)
    if failed is not None:
        yield Figure("rollout_failed", 1.0, failed.target.version, failed.outcome)
    linked, held = seen.versions.linked, seen.activation.held
    live = seen.versions.get(linked)
    auto = seen.config.models.activation == "auto"
    count = 0
    for entry in seen.versions.entries:
        if entry.state is not VersionState.REJECTED or entry.verdict is None:
            continue
        if failed is not None and failed.target.version == entry.name:
            continue  # one trouble is reported once
        higher = live is None or is_higher(entry.name, live.name)
        if entry.seen.arriving and not entry.seen.files and entry.name != linked:
            continue  # a directory without files is no version yet
        wanted = entry.name == linked or (auto and higher and entry.name not in held)
        if (wanted or _just_judged(entry.verdict.judged_at, seen.wall)) and count < MAX_VERSIONS:
            count += 1
            expected = alarming_at(seen, entry) > seen.now
            yield Figure("version_rejected", 1.0, entry.name, entry.verdict.because, expected)
    for name, because in list(unchosen_versions(seen).items())[:MAX_VERSIONS]:
        chosen = seen.versions.get(name)
        expected = chosen is not None and alarming_at(seen, chosen) > seen.now
        yield Figure("version_unchosen", 1.0, name, because[:MAX_REASON], expected)


def alarming_at(seen: Snapshot, entry: CatalogEntry) -> float:
    """From when on a problem of a version may raise an alert, monotonic seconds."""
    return quiet_at(entry.changed, entry.restless_since, seen.config.validation.alert_after)


def quiet_due(seen: Snapshot) -> float | None:
    """When time alone may raise an alert about a version."""
    judged = (VersionState.ACCEPTED, VersionState.REJECTED)
    due = [alarming_at(seen, entry) for entry in seen.versions.entries if entry.state in judged]
    return min((at for at in due if at > seen.now), default=None)


def _unjudged(seen: Snapshot) -> Iterator[Figure]:
    for name, because in list(seen.versions.unjudged.items())[:MAX_VERSIONS]:
        yield Figure("version_unjudged", 1.0, name, because[:MAX_REASON])
    for path, because in list(seen.versions.misplaced.items())[:MAX_VERSIONS]:
        yield Figure("misplaced_link", 1.0, path, because[:MAX_REASON])


def _upkeep(seen: Snapshot) -> Iterator[Figure]:
    if trouble := seen.upkeep.trouble:
        yield Figure("sweep_shortfall", float(len(trouble)), "", "; ".join(trouble))
    for name, used, quota in class_usage(seen):
        if quota:
            yield Figure("class_used_percent", 100.0 * used / quota, name)


def _jobs(seen: Snapshot) -> Iterator[Figure]:
    jobs, limits = seen.jobs, seen.config.jobs
    yield Figure("jobs_used_percent", jobs.used_percent(limits.max_jobs, limits.max_bytes), "", jobs.trouble)
    because = f"{jobs.unfinished} wait or run" if jobs.unfinished else ""
    yield Figure("jobs_still_seconds", round(jobs.still_seconds), "", because)


def class_usage(seen: Snapshot) -> Iterator[tuple[str, int, int]]:
    """Name, bytes and quota (0: none) of each of the operator's disk classes, as the last sweep left it."""
    last = seen.upkeep.last
    after = {row.name: row.after.bytes for row in last.classes} if last is not None else {}
    for entry in seen.config.disk.class_:
        if entry.name in after:
            yield entry.name, after[entry.name], entry.max_bytes


def _failed_rollout(activation: ActivationSeen, now: float) -> Rollout | None:
    """The last rollout, if it failed by itself, not long ago, and is worth an alert."""
    last = activation.last
    if last is None or last.succeeded or last.cancelled or now - last.started > ROLLOUT_SECONDS:
        return None
    return last


def _just_judged(judged_at: str, wall: float) -> bool:
    try:
        return wall - datetime.fromisoformat(judged_at).timestamp() <= REJECTED_SECONDS
    except ValueError:
        return False
