"""The daemon's metrics: one table of names, types, meanings and labels. The documents and tests are made from it.

Names and units by Prometheus' conventions: base units, `_total` for counters, `_ratio` from 0 to 1. A metric that is
not known at the moment is absent, never 0. A worker's restart is an ordinary reset of its counters.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from ...worker.shared.prometheus_text import Exposition, Metric
from .alerts import Alert, AlertState
from .delivery import AlertChannel
from .mounts import Mount
from .sampler import DAEMON, SystemSample

METRICS: Final = (
    Metric("modelward_build_info", "gauge", "Always 1; the label is the version of modelward.", ("version",)),
    Metric("modelward_start_time_seconds", "gauge", "When the daemon began, seconds since 1970."),
    Metric("modelward_ready", "gauge", "1 while some worker answers requests."),
    # the fleet, where one is configured
    Metric("modelward_fleet_connected", "gauge", "1 while the fleet's server was reached at the last try."),
    Metric("modelward_fleet_record_sequence", "gauge", "Number of the record that is followed, 0 for none."),
    Metric("modelward_fleet_outcome", "gauge", "1 for what this machine reports about the record.", ("outcome",)),
    Metric("modelward_fleet_fetched_bytes", "gauge", "How much of the wanted version was fetched."),
    Metric("modelward_fleet_halted", "gauge", "1 while the rollout is halted; on the keeper that acts."),
    Metric("modelward_fleet_wave_open", "gauge", "1 for an open wave; on the keeper that acts.", ("wave",)),
    Metric("modelward_fleet_machines", "gauge", "Machines by wave and what they count as.", ("wave", "standing")),
    # workers
    Metric("modelward_workers", "gauge", "Workers by what they are doing.", ("state",)),
    Metric("modelward_workers_wanted", "gauge", "Workers of its own that the daemon keeps up."),
    Metric("modelward_worker_info", "gauge", "Always 1; what a worker serves.", ("worker", "version", "attached")),
    Metric("modelward_worker_requests_total", "counter", "Requests for inference answered by a worker.", ("worker",)),
    Metric("modelward_worker_request_errors_total", "counter", "Of these, answers of 500 and above.", ("worker",)),
    Metric("modelward_worker_requests_inflight", "gauge", "Requests in work or waiting in a worker.", ("worker",)),
    Metric(
        "modelward_worker_request_duration_p95_seconds",
        "gauge",
        "95th percentile of a worker's answers in the last minute.",
        ("worker",),
    ),
    Metric(
        "modelward_version_requests_total",
        "counter",
        "Requests answered by a version in a worker, of those that were connected lately.",
        ("worker", "version"),
    ),
    Metric(
        "modelward_version_request_errors_total",
        "counter",
        "Of these, answers of 500 and above.",
        ("worker", "version"),
    ),
    Metric(
        "modelward_version_request_duration_seconds",
        "histogram",
        "From the last byte of a request to its answer, of those that a model worked on.",
        ("worker", "version"),
    ),
    Metric("modelward_worker_resident_memory_bytes", "gauge", "Memory of a worker.", ("worker",)),
    Metric("modelward_worker_cpu_seconds_total", "counter", "Processor time of a worker.", ("worker",)),
    Metric("modelward_worker_open_fds", "gauge", "Open file descriptors of a worker.", ("worker",)),
    Metric("modelward_worker_ends_total", "counter", "Workers that ended; told: the daemon sent them away.", ("told",)),
    Metric("modelward_probes_total", "counter", "Clips with a known text sent through the port.", ("result",)),
    Metric("modelward_probe_duration_p95_seconds", "gauge", "95th percentile of the last 60 probes that passed."),
    # versions
    Metric("modelward_versions", "gauge", "Versions in the model root by state.", ("state",)),
    Metric("modelward_versions_held", "gauge", "Versions that are kept from being chosen automatically."),
    Metric(
        "modelward_live_version_info",
        "gauge",
        "Always 1; the version that is served.",
        ("version",),
    ),
    Metric(
        "modelward_serving_version_info",
        "gauge",
        "Always 1; the version that the workers are to serve.",
        ("version", "digest"),
    ),
    Metric("modelward_model_root_present", "gauge", "1 while the model root can be read."),
    Metric(
        "modelward_watch_active", "gauge", "1 while events of the model root are heard, 0 when only the timer looks."
    ),
    Metric("modelward_validation_duration_seconds", "summary", "Time that judging a version took.", ("verdict",)),
    Metric("modelward_rollout_in_progress", "gauge", "1 while workers are moved to another version."),
    Metric("modelward_events_total", "counter", "Lines of history by kind, since the daemon began.", ("kind",)),
    Metric("modelward_config_last_reload_successful", "gauge", "0 while the file's configuration is refused."),
    # disk
    Metric(
        "modelward_disk_size_bytes", "gauge", "Size of each file system that holds a directory of ours.", ("mount",)
    ),
    Metric("modelward_disk_free_bytes", "gauge", "What ordinary users may still write there.", ("mount",)),
    Metric("modelward_disk_used_ratio", "gauge", "Used part of what ordinary users may use.", ("mount",)),
    Metric("modelward_disk_inodes", "gauge", "Inodes; absent where their number is not fixed.", ("mount",)),
    Metric("modelward_disk_inodes_free", "gauge", "Free inodes.", ("mount",)),
    Metric("modelward_disk_read_only", "gauge", "1 when it is mounted read-only.", ("mount",)),
    Metric("modelward_mount_stuck", "gauge", "1 while a mount does not answer.", ("mount",)),
    Metric("modelward_class_used_bytes", "gauge", "Each disk class as the last sweep left it.", ("class",)),
    Metric("modelward_class_quota_bytes", "gauge", "Its quota; absent without one.", ("class",)),
    Metric("modelward_jobs", "gauge", "Transcription jobs by state; those that ended are kept for a time.", ("state",)),
    Metric("modelward_jobs_bytes", "gauge", "Recordings and results of all jobs."),
    Metric("modelward_jobs_used_ratio", "gauge", "Used part of the room for jobs, by count or bytes."),
    Metric("modelward_jobs_still_seconds", "gauge", "Since a job last made progress; 0 while none waits."),
    Metric("modelward_job_callbacks", "gauge", "Reports of jobs' ends that wait or were given up.", ("state",)),
    Metric("modelward_sweeps_total", "counter", "Sweeps since the daemon began."),
    Metric("modelward_sweep_removed_files_total", "counter", "Files that sweeps removed."),
    Metric("modelward_sweep_removed_bytes_total", "counter", "What they took on the disk."),
    Metric("modelward_state_in_memory", "gauge", "1 while state.db cannot be written: it is kept in memory alone."),
    Metric("modelward_sweep_shortfalls", "gauge", "Reasons why the last sweep or rotation could not do all its work."),
    # machine
    Metric("modelward_cpu_used_ratio", "gauge", "Busy part of all processors between the last two measurements."),
    Metric("modelward_memory_size_bytes", "gauge", "Memory of the machine."),
    Metric("modelward_memory_available_bytes", "gauge", "Memory that can be had without swapping."),
    Metric("modelward_memory_used_ratio", "gauge", "Of the machine, or of our control group when that is tighter."),
    Metric(
        "modelward_pressure_waiting_seconds_total",
        "counter",
        "Time in which some or all (full) tasks waited for a resource; absent where the kernel does not count it.",
        ("resource", "kind"),
    ),
    Metric("modelward_oom_kills_total", "counter", "Processes killed by the kernel for lack of memory, since boot."),
    # the daemon itself
    Metric(
        "modelward_controller_failed",
        "gauge",
        "1 for each part of the daemon that ended by an unexpected error and is tried again.",
        ("controller",),
    ),
    Metric("modelward_daemon_resident_memory_bytes", "gauge", "Memory of the daemon."),
    Metric("modelward_daemon_cpu_seconds_total", "counter", "Processor time of the daemon."),
    Metric(
        "modelward_log_lines_not_forwarded_total",
        "counter",
        "Log lines that did not get to the receiver of logs.forward: it took none for too long, or no message "
        "can be made of them. The files have them.",
    ),
    Metric(
        "modelward_log_lines_dropped_total",
        "counter",
        "Log lines that the daemon could not write: the disk was full, or did not answer.",
    ),
    Metric("modelward_daemon_open_fds", "gauge", "Open file descriptors of the daemon."),
    Metric("modelward_monitor_duration_seconds", "gauge", "Time that the last measurement took."),
    Metric("modelward_monitor_last_time_seconds", "gauge", "When the last measurement was, seconds since 1970."),
    # alerts
    Metric("modelward_alerts", "gauge", "Alerts by state.", ("state",)),
    Metric("modelward_alert_firing", "gauge", "1 for each alert that fires.", ("alert", "subject", "severity")),
    Metric("modelward_alert_messages_total", "counter", "Tries to send a message.", ("channel", "result")),
    Metric("modelward_alert_messages_dropped_total", "counter", "Messages given up, or pushed out.", ("channel",)),
    Metric("modelward_alert_messages_waiting", "gauge", "Messages in a channel's queue.", ("channel",)),
)


def add_sample(out: Exposition, sample: SystemSample, wall: float) -> None:
    """Machine, mounts and processes, as they were measured last; `wall` is when that was."""
    machine, row = sample.machine, sample.row
    out.add("modelward_monitor_duration_seconds", sample.seconds)
    out.add("modelward_monitor_last_time_seconds", wall)
    out.add("modelward_cpu_used_ratio", _ratio(row.get("cpu_used_percent")))
    out.add("modelward_memory_size_bytes", machine.memory_total_bytes)
    out.add("modelward_memory_available_bytes", machine.memory_available_bytes)
    out.add("modelward_memory_used_ratio", _ratio(machine.memory_used_percent))
    out.add("modelward_oom_kills_total", machine.oom_kills)
    for p in machine.pressure:
        labels = {"resource": p.resource, "kind": p.kind}
        out.add("modelward_pressure_waiting_seconds_total", p.total_seconds, **labels)
    for name, process in machine.processes.items():
        who = "daemon" if name == DAEMON else "worker"
        labels = {} if name == DAEMON else {"worker": name}
        out.add(f"modelward_{who}_cpu_seconds_total", process.cpu_seconds, **labels)
        out.add(f"modelward_{who}_open_fds", process.open_fds, **labels)
        if name == DAEMON:
            out.add("modelward_daemon_resident_memory_bytes", process.resident_bytes)
    for mount in sample.mounts:
        _add_mount(out, mount)


def _add_mount(out: Exposition, mount: Mount) -> None:
    out.add("modelward_mount_stuck", float(mount.stuck), mount=mount.mount)
    if (space := mount.space) is None:
        return
    out.add("modelward_disk_size_bytes", space.size_bytes, mount=mount.mount)
    out.add("modelward_disk_free_bytes", space.free_bytes, mount=mount.mount)
    out.add("modelward_disk_used_ratio", space.used_percent / 100, mount=mount.mount)
    out.add("modelward_disk_read_only", float(space.read_only), mount=mount.mount)
    if space.inodes:
        out.add("modelward_disk_inodes", space.inodes, mount=mount.mount)
        out.add("modelward_disk_inodes_free", space.free_inodes, mount=mount.mount)


def add_alerts(out: Exposition, alerts: Mapping[str, Alert], channels: Iterable[AlertChannel]) -> None:
    """States of the alerts, and how their channels do."""
    for state in AlertState:
        out.add("modelward_alerts", sum(a.state is state for a in alerts.values()), state=state.value.replace(" ", "_"))
    for a in alerts.values():
        if a.state is AlertState.FIRING:
            labels = {"alert": a.rule.name, "subject": a.subject, "severity": a.rule.severity}
            out.add("modelward_alert_firing", 1, **labels)
    for channel in channels:
        label, counts = channel.address.label, channel.counts
        out.add("modelward_alert_messages_total", counts.delivered, channel=label, result="delivered")
        out.add("modelward_alert_messages_total", counts.failed, channel=label, result="failed")
        out.add("modelward_alert_messages_dropped_total", counts.dropped, channel=label)
        out.add("modelward_alert_messages_waiting", len(channel.queue), channel=label)


def _ratio(percent: float | None) -> float | None:
    return None if percent is None else percent / 100
