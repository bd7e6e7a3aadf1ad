"""The figures that can raise an alert: one table of names, for the configuration and for the parts
that measure.

Pure. A figure has a subject where there are several of a kind: a mount, a worker, a version, a channel. Units come last
in the names. A figure without a unit is a count, or 1 while the condition holds.
"""

from __future__ import annotations

from typing import Final

TOO_LITTLE: Final = frozenset({"workers_ready", "disk_full_hours"})
"""Figures that are alarming when they are low."""
MAY_EXCEED: Final = frozenset({"class_used_percent"})
"""Percentages that may be above 100."""
_MOST: Final = {"disk_full_hours": 720.0}
_LEAST_BYTES: Final = 1 << 20
FIGURES: Final[dict[str, str]] = {
    # the machine
    "disk_used_percent": "of each mount that holds a directory of ours, as ordinary users see it",
    "disk_full_hours": "until each of these mounts is full, where 15 minutes and 6 hours agree; 720: it does not fill",
    "inode_used_percent": "of the same mounts; absent where the file system has no fixed number of inodes",
    "memory_used_percent": "of the machine, or of our control group when that is closer to its limit",
    "swap_used_percent": "absent without swap",
    "cpu_used_percent": "of all processors together, since the measurement before",
    "cpu_pressure_percent": "time in which some task waited for a processor, over the last minute",
    "memory_pressure_percent": "time in which some task waited for memory, over the last minute",
    "io_pressure_percent": "time in which every task waited for input or output, over the last minute",
    "mount_stuck": "1 while a mount does not answer",
    "oom_kills": "processes that the kernel killed for lack of memory in the last ten minutes",
    "daemon_resident_bytes": "memory of the daemon itself",
    # the service
    "workers_ready": "workers that answer requests",
    "workers_missing": "workers that should answer requests and do not",
    "worker_refusing": "1 for each worker that serves a version and would not answer a request now",
    "worker_restarts": "workers that ended without being told to in the last ten minutes",
    "worker_stuck": "workers that had runs of the model that did not end in the last ten minutes",
    "worker_resident_bytes": "memory of each worker",
    "worker_p95_seconds": "95th percentile of each worker's recent answers",
    "probe_failed": "1 while at least `probe.failures` probes in a row did not bring back their known text",
    "requests_failed_percent": "of the answers since the measurement before that were 500 and above",
    # versions
    "version_rejected": "1 for each rejected version that is wanted, or was judged in the last hour",
    "version_unjudged": "1 for each version that could not be judged at least twice in a row",
    "version_unchosen": "1 for each accepted version whose name does not show whether it is newer than the live one",
    "misplaced_link": "1 for each link that lies in a version and was meant for the model root",
    "rollout_failed": "1 for the version of the last rollout while that failed, for a day at most",
    "needs_operator": "1 while the daemon cannot go on by itself",
    "root_absent": "1 while the model root cannot be read",
    "watch_lost": "1 while the model root is looked at by the timer alone",
    # upkeep
    "class_used_percent": "of each disk class's quota in bytes, as the last sweep left it",
    "sweep_shortfall": "reasons why the last sweep or rotation could not do all its work",
    "jobs_used_percent": "of jobs.max_jobs or of jobs.max_bytes, whichever is fuller",
    "jobs_still_seconds": "seconds since a transcription job last made progress; 0 while none waits",
    # the daemon
    "config_refused": "1 while the configuration on the disk is not the one in force because it is wrong",
    "state_in_memory": "1 while state.db cannot be written: what happens now is lost if the daemon is killed",
    "controller_failed": "1 for each part of the daemon that ended by an unexpected error and is tried again",
    "tokens_unusable": "1 while no token is accepted by the panel because its token file cannot be used",
    "alert_channel_failures": "messages in a row that each channel did not take",
    "fleet_away": "1 while the fleet's server has not been reached for `fleet.alert_after`",
    "fleet_blocked": "1 while this machine cannot follow the fleet's record",
    "fleet_halted": "1 while the rollout over the fleet is halted, on the keeper that acts",
    "heartbeat_failures": "heartbeats in a row that did not arrive at `alerts.heartbeat`",
}


def impossible(metric: str, above: float | None, below: float | None) -> str:
    """Why a threshold on this figure makes no sense: the alert would fire always or never. "" when it does."""
    limit = below if below is not None else above
    if limit is None:
        return ""
    if FIGURES.get(metric, "").startswith("1 "):
        good = below is None and 0 <= limit < 1
        return "" if good else "the figure is 1 while something is so, else 0; above = 0"
    if metric.endswith("_percent"):
        return _impossible_percent(metric, limit, low=below is not None)
    if metric.endswith("_bytes") and limit < _LEAST_BYTES:
        return "the figure is in bytes; a number of bytes, like 2000000000"
    if metric in TOO_LITTLE and above is not None and above < 1:
        return "the figure is alarming when it is low; below"
    if limit < 0 or (below is not None and limit == 0):
        return "the figure is never below 0; a higher number"
    return ""


def _impossible_percent(metric: str, limit: float, *, low: bool) -> str:
    if 0 < limit < 1:
        return f"the figure is in percent, and {limit:g} is less than one; {limit * 100:g}, if a share was meant"
    if limit < 0 or (low and limit == 0):
        return "the figure is never below 0; 1 to 99"
    if limit >= 100 and metric not in MAY_EXCEED:
        return f"the figure is {'always' if low else 'never'} {'below' if low else 'above'} it; 1 to 99"
    return ""


def unreachable(metric: str, clear: float) -> str:
    """Why a figure never gets to where its alert ends; "" when it may."""
    if clear < 0:
        return "the figure is never below 0; 0 or more"
    most = 100.0 if metric.endswith("_percent") and metric not in MAY_EXCEED else _MOST.get(metric, clear)
    return f"the figure is never above {most:g}; less" if clear > most else ""
