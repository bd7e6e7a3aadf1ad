"""What the daemon reports of itself: answers of the API, made of a snapshot. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import UNSET

from ...worker.child_protocol import GateDone, GateStarted
from ..answers.alerts import AlertReport
from ..answers.events import GateNews
from ..answers.status import (
    ConfigReport,
    FullestDisk,
    HeartbeatReport,
    PanelReport,
    PendingKey,
    ProbeReport,
    StateReason,
    StatusAnswer,
    VersionReason,
    WorkersCount,
)
from ..answers.traffic import TrafficAnswer, VersionTraffic
from ..answers.versions import GateReport, IgnoredDirectory, VersionReport
from ..answers.workers import WorkerReport
from ..models import verdict as v
from ..models.catalog import CatalogEntry
from ..models.lifecycle import VersionState
from ..models.link_place import notice_of
from ..models.snapshot import Names, RootSeen, Sight
from ..system.clock import rfc3339
from ..workers.peer import WorkerPeer
from ..workers.pool import WorkerProcess
from ..workers.pool_planner import Phase
from ..workers.traffic import Traffic
from .snapshot import Snapshot, VersionsSeen, WorkersSeen


def version(
    entry: CatalogEntry,
    *,
    live: str,
    held: Mapping[str, str],
    peers: Iterable[WorkerPeer],
    compiled: Mapping[str, Any],
    waiting: str,
    unchosen: str,
    must_stay: str = "",
) -> VersionReport:
    """One version. `serving` names the workers that answer with it. `compiled` describes the form that they load,
    `waiting` is why it waits for one. `unchosen` is why nothing chooses it by itself.
    """
    if entry.waiting and entry.state in (VersionState.SEEN, VersionState.SETTLING):
        waiting = entry.waiting
    return VersionReport(
        version=entry.name,
        digest=entry.digest,
        state=entry.state.value,
        verdict=v.report(entry.verdict) if entry.verdict else None,
        bytes=entry.seen.bytes,
        live=entry.name == live,
        held=entry.name in held,
        serving=[p.name for p in peers if p.serving == entry.name],
        compiled=dict(compiled),
        arrived=rfc3339(entry.arrived),
        held_because=held.get(entry.name, UNSET),
        unchosen_because=unchosen or UNSET,
        waiting=waiting or UNSET,
        must_stay=must_stay or UNSET,
    )


def gate_news(version: str, message: GateStarted | GateDone) -> GateNews:
    """What a validator reported about one gate."""
    if isinstance(message, GateStarted):
        return GateNews(version, message.gate)
    seconds = round(message.seconds, 3)
    done = GateReport(message.gate, message.passed, seconds, message.because, message.warning or UNSET)
    return GateNews(version, message.gate, done)


def status(
    seen: Snapshot,
    *,
    live: str,
    alerts: list[AlertReport],
    disk: FullestDisk,
    pending: list[PendingKey],
    panel_problem: str,
    heartbeat: HeartbeatReport | None,
    probe: ProbeReport,
    config: ConfigReport,
    release: str,
    pid: int,
    uptime_seconds: float,
) -> StatusAnswer:
    """The status of the daemon. `live` is what is served, by the name that the link was last known to give it."""
    serving, rollout, waiting = seen.activation.position.serving, seen.activation.current, seen.activation.waiting
    reports, previous = workers(seen.workers), seen.activation.position.previous
    ready = any(peer.ready for peer in seen.workers.peers)
    return StatusAnswer(
        live=live,
        link=link(seen.versions, live),
        root=notice_of(seen.versions.sight, seen.config.models.root),
        serving=serving.version if serving else "",
        previous=previous.name if previous else "",
        ready=ready,
        state="ready" if ready else "nothing is served" if serving is None else "loading",
        workers=WorkersCount(
            ready=sum(w.state == "ready" for w in reports),
            total=len(reports),
            wanted=seen.workers.wanted,
            because=seen.workers.because,
        ),
        pending=pending,
        rollout=rollout.answer() if rollout else None,
        waiting=VersionReason(*waiting) if waiting[0] else None,
        disk=disk,
        alerts=alerts,
        watch=StateReason(*seen.watch),
        panel=PanelReport(seen.config.panel.listen, panel_problem),
        heartbeat=heartbeat,
        probe=probe,
        config=config,
        version=release,
        pid=pid,
        uptime_seconds=uptime_seconds,
    )


def link(versions: VersionsSeen, live: str) -> VersionReason | None:
    """The version that the link names while another is served, "" for none, and the reason."""
    sight = versions.sight
    if not isinstance(sight, RootSeen) or (isinstance(sight.link, Names) and sight.link.version == live):
        return None
    if not isinstance(sight.link, Names):
        return VersionReason("", str(sight.link))
    entry = versions.get(sight.link.version)
    if entry is None:
        return VersionReason(sight.link.version, "it was not looked at yet")
    because = entry.waiting or (entry.verdict.because if entry.verdict else "")
    state = entry.state.value
    return VersionReason(entry.name, f"its state is {state}: {because}" if because else f"its state is {state}")


def ignored(sight: Sight) -> list[IgnoredDirectory]:
    """Directories of the model root that are no versions because of their names."""
    found = sight.ignored if isinstance(sight, RootSeen) else ()
    return [IgnoredDirectory(name.encode("utf-8", "backslashreplace").decode(), because) for name, because in found]


def workers(seen: WorkersSeen) -> list[WorkerReport]:
    """Connected workers, then processes that have not joined (yet), then places that wait for a start."""
    known = {peer.name: peer for peer in seen.peers}
    processes = {process.name: process for process in seen.processes}
    reports = [_peer(peer, processes.get(peer.name)) for peer in known.values()]
    for process in seen.processes:
        if process.name not in known:
            reports.append(_absent(process.name, process.child.pid, process.phase.value))
    for pending in seen.pending_starts:
        reports.append(_absent("", None, "blocked" if pending.blocked else "waiting", because=pending.blocked))
    return reports


def traffic(counted: Traffic) -> TrafficAnswer:
    """What each version answered."""
    return TrafficAnswer(
        rfc3339(counted.began),
        [
            VersionTraffic(name, a.requests, a.errors, _rounded(a.quantile(0.5)), _rounded(a.quantile(0.95)))
            for name, a in reversed(counted.versions.items())
        ],
    )


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 6)


def _peer(peer: WorkerPeer, process: WorkerProcess | None) -> WorkerReport:
    retiring = peer.draining or (process is not None and process.phase is Phase.RETIRING)
    state = "retiring" if retiring else "ready" if peer.serving else "loading" if peer.loading else "idle"
    return WorkerReport(
        name=peer.name,
        pid=peer.pid,
        state=state,
        serving=peer.serving,
        attached=peer.attached,
        inflight=peer.beat.inflight,
        requests=peer.beat.requests,
        errors=peer.beat.errors,
        p95_seconds=peer.beat.p95_seconds,
        rss_bytes=peer.beat.rss_bytes,
        confinement=_confinement(peer),
    )


def _confinement(peer: WorkerPeer) -> str:
    """What a worker of ours took from itself, and what it could not; "" for any other."""
    missing = f"not confined: {peer.missing}" if peer.missing else ""
    return "; ".join(part for part in (peer.confinement, missing) if part)


def _absent(name: str, pid: int | None, state: str, *, because: str = "") -> WorkerReport:
    return WorkerReport(
        name=name,
        pid=pid,
        state=state,
        serving="",
        attached=False,
        inflight=0,
        requests=0,
        errors=0,
        p95_seconds=0.0,
        rss_bytes=0,
        confinement="",
        because=because,
    )
