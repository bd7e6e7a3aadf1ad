"""What the daemon reports of itself, in the API's shapes. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..models import verdict as v
from ..models.catalog import CatalogEntry
from ..models.lifecycle import VersionState
from ..models.snapshot import Names, RootSeen, Sight
from ..system.clock import rfc3339
from ..workers.peer import WorkerPeer
from ..workers.pool import WorkerProcess
from ..workers.pool_planner import Phase
from .snapshot import Snapshot, VersionsSeen, WorkersSeen

Json = dict[str, Any]


def version(
    entry: CatalogEntry,
    *,
    live: str,
    held: Mapping[str, str],
    peers: Iterable[WorkerPeer],
    compiled: Mapping[str, Any] | None = None,
    waiting: str = "",
) -> Json:
    """One version. `serving` names the workers that answer with it; `compiled` is about the form that they load;
    `waiting` says that it waits for one."""
    shape: Json = {
        "version": entry.name,
        "digest": entry.digest,
        "state": entry.state.value,
        "verdict": v.to_json(entry.verdict) if entry.verdict else None,
        "bytes": entry.seen.bytes,
        "live": entry.name == live,
        "held": entry.name in held,
        "serving": [p.name for p in peers if p.serving == entry.name],
        "compiled": dict(compiled or {}),
        "arrived": rfc3339(entry.arrived),
    }
    if entry.name in held:
        shape["held_because"] = held[entry.name]
    if entry.waiting and entry.state in (VersionState.SEEN, VersionState.SETTLING):
        shape["waiting"] = entry.waiting
    elif waiting:
        shape["waiting"] = waiting
    return shape


def status(
    seen: Snapshot,
    *,
    live: str,
    alerts: list[Json],
    disk: Json,
    pending: list[Json],
    panel_problem: str,
    config: Json,
    process: Json,
) -> Json:
    """The status of the daemon. `live` is what is served, by the name that the link was last known to give it."""
    serving, rollout, waiting = seen.activation.position.serving, seen.activation.current, seen.activation.waiting
    shapes = workers(seen.workers)
    ready = any(peer.ready for peer in seen.workers.peers)
    return {
        "live": live,
        "link": link(seen.versions, live),
        "serving": serving.version if serving else "",
        "ready": ready,
        "state": "ready" if ready else "nothing is served" if serving is None else "loading",
        "workers": {
            "ready": sum(w["state"] == "ready" for w in shapes),
            "total": len(shapes),
            "wanted": seen.workers.wanted,
            "because": seen.workers.because,
        },
        "pending": pending,
        "rollout": rollout.as_json() if rollout else None,
        "waiting": dict(zip(("version", "because"), waiting, strict=True)) if waiting[0] else None,
        "disk": disk,
        "alerts": alerts,
        "watch": dict(zip(("state", "because"), seen.watch, strict=True)),
        "panel": {"listen": seen.config.panel.listen, "problem": panel_problem},
        "config": config,
        **process,
    }


def link(versions: VersionsSeen, live: str) -> Json | None:
    """What the link says while that is not what is served: the version that it names, "" for none, and because."""
    sight = versions.sight
    if not isinstance(sight, RootSeen) or (isinstance(sight.link, Names) and sight.link.version == live):
        return None
    if not isinstance(sight.link, Names):
        return {"version": "", "because": str(sight.link)}
    entry = versions.get(sight.link.version)
    if entry is None:
        return {"version": sight.link.version, "because": "it was not looked at yet"}
    because = entry.waiting or (entry.verdict.because if entry.verdict else "")
    because = f"{entry.state.value}: {because}" if because and not because.startswith(entry.state.value) else because
    return {"version": entry.name, "because": because or entry.state.value}


def ignored(sight: Sight) -> list[Json]:
    """Directories of the model root that are no versions because of their names."""
    found = sight.ignored if isinstance(sight, RootSeen) else ()
    return [{"name": name.encode("utf-8", "backslashreplace").decode(), "because": because} for name, because in found]


def workers(seen: WorkersSeen) -> list[Json]:
    """Connected workers, then processes that have not joined (yet), then places that wait for a start."""
    known = {peer.name: peer for peer in seen.peers}
    processes = {process.name: process for process in seen.processes}
    shapes = [_peer(peer, processes.get(peer.name)) for peer in known.values()]
    for process in seen.processes:
        if process.name not in known:
            shapes.append(_absent(process.name, process.child.pid, process.phase.value))
    for vacancy in seen.vacancies:
        shapes.append(_absent("", None, "blocked" if vacancy.blocked else "waiting", because=vacancy.blocked))
    return shapes


def _peer(peer: WorkerPeer, process: WorkerProcess | None) -> Json:
    retiring = peer.draining or (process is not None and process.phase is Phase.RETIRING)
    state = "retiring" if retiring else "ready" if peer.serving else "loading" if peer.loading else "idle"
    return {
        "name": peer.name,
        "pid": peer.pid,
        "state": state,
        "serving": peer.serving,
        "attached": peer.attached,
        "inflight": peer.beat.inflight,
        "requests": peer.beat.requests,
        "errors": peer.beat.errors,
        "p95_seconds": peer.beat.p95_seconds,
        "rss_bytes": peer.beat.rss_bytes,
        "confinement": _confinement(peer),
    }


def _confinement(peer: WorkerPeer) -> str:
    """What a worker of ours took from itself, and what it could not; "" for any other."""
    missing = f"not confined: {peer.missing}" if peer.missing else ""
    return "; ".join(part for part in (peer.confinement, missing) if part)


def _absent(name: str, pid: int | None, state: str, *, because: str = "") -> Json:
    return {
        "name": name,
        "pid": pid,
        "state": state,
        "because": because,
        "serving": "",
        "attached": False,
        "inflight": 0,
        "requests": 0,
        "errors": 0,
        "p95_seconds": 0.0,
        "rss_bytes": 0,
        "confinement": "",
    }
