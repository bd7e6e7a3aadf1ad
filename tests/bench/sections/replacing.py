"""Replacing the model under load: how long until everybody answers by the new version, and what clients feel of it.

Each server gets requests at a fixed pace, LOAD of what it can do, first undisturbed, then while the link is moved to
another version and the server is told, in its way. Then back again, and so on. For modelward moving the link is all.
The time that ONNX Runtime alone takes for the same artifact is taken in between, in a process of its own: to load it
undisturbed, and to load and run it once beside the same requests, which is what a worker does.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from tests.bench import load, peers, trees
from tests.bench.bare import Bare
from tests.bench.clips import pool
from tests.bench.ours import (
    VERSIONS,
    Modelward,
    point,
    versions,
)
from tests.bench.peers.peer import CORES
from tests.bench.plan import Plan
from tests.bench.servers import Server, placed

PEERS = ("flask_lock", "mlserver", "litserve", "ray_serve", "triton")
LOAD = 0.4
CLIP_SECONDS, STEADY_SECONDS, AFTER_SECONDS, GIVE_UP_SECONDS = 5.0, 10.0, 3.0, 30.0
SWAPS = 2
OUR_SWAPS = 6


@dataclass(frozen=True)
class Subject:
    """A server that is up: how to ask it, which processes it has, how to make it take what the link names.

    `bare` loads the same artifact alone; `ready` gives the times at which its workers said that they serve a version,
    in the order in which they said it. Only ours has them.
    """

    name: str
    ask: load.Ask
    pids: Callable[[], list[int]]
    link: Path
    replace: Callable[[], None]
    parallel: int
    bare: Callable[[], Bare] | None = None
    ready: Callable[[str, datetime], list[datetime]] = lambda version, since: []


def measure(plan: Plan) -> dict[str, Any]:
    """{"systems": {name: {title, setup, versions, pace_seconds, steady, swaps: […], …}}, "load"}."""
    wanted = plan.peers or ("modelward", *PEERS)
    systems = {}
    for name in wanted:
        found = _ours(plan) if name == "modelward" else _peer(plan, name)
        systems.update(found)
    return {"systems": systems, "load": LOAD, "clip_seconds": _clip_seconds(plan)}


def _clip_seconds(plan: Plan) -> float:
    return 1.0 if plan.quick else CLIP_SECONDS


def _ours(plan: Plan) -> dict[str, Any]:
    ours = plan.modelward()
    try:
        ours.start(pool(_clip_seconds(plan))[0])

        def bare() -> Bare:
            alone = Bare(ours.artifact(), True, "session", 1).start()
            alone.stop()
            return alone

        ready = partial(_ready, ours)
        subject = Subject("modelward", ours.ask, ours.pids, ours.house.link, lambda: None, CORES, bare, ready)
        found = _swap(plan, subject, 1 if plan.quick else OUR_SWAPS, lambda: _settled(ours))
        return {"modelward": {"title": "modelward", "setup": f"{CORES} workers, no bake", **found}}
    finally:
        ours.stop()


def _ready(ours: Modelward, version: str, since: datetime) -> list[datetime]:
    """When each worker wrote that it serves `version`."""
    said = [(e["version"], datetime.fromisoformat(e["time"])) for e in ours.house.events() if e["event"] == "serving"]
    return sorted(time for name, time in said if name == version and time >= since)


def _settled(ours: Modelward) -> None:
    ours.house.await_serving(ours.house.link.resolve().name, 60)


def _peer(plan: Plan, name: str) -> dict[str, Any]:
    peer = peers.find(name)
    environment = plan.environment(peer)
    facts = {"title": peer.title, "setup": peer.setup, "versions": environment.versions(peer.requirements)}
    if environment.python is None:
        return {peer.name: {**facts, "missing": environment.because}}
    made = versions(plan.root / ("small-versions" if plan.quick else "versions"), plan.model)
    scratch = plan.scratch / peer.name
    scratch.mkdir(parents=True, exist_ok=True)
    link = scratch / "current"
    point(link, made[0])
    server = Server(peer, placed(environment.python, link, scratch))
    try:
        server.start(pool(_clip_seconds(plan))[0])
        subject = Subject(peer.name, server.ask, server.pids, link, lambda: _replace(server), peer.parallel)
        found = _swap(plan, subject, 1 if plan.quick else SWAPS, lambda: None)
    except (RuntimeError, AssertionError) as e:
        found = {"missing": f"it did not run: {str(e)[:200]}"}
    finally:
        server.stop()
    return {peer.name: {**facts, **found}}


def _replace(server: Server) -> None:
    if server.peer.replace is not None:
        server.peer.replace(server.place)
    else:
        server.restart()


def _swap(plan: Plan, subject: Subject, swaps: int, settled: Callable[[], None]) -> dict[str, Any]:
    clips = pool(_clip_seconds(plan))
    for clip in clips * 2:
        subject.ask(clip)
    load.closed(subject.ask, clips, subject.parallel, 8 * subject.parallel)  # not counted
    full = load.closed(subject.ask, clips, subject.parallel, 8 * subject.parallel).figures()["clips_per_second"]
    pace = 1 / (LOAD * full)
    steady: list[load.Seen] = []
    done, bares, beside = [], [], []
    for number in range(swaps):
        if subject.bare is not None:
            bares += subject.bare().load_seconds
            with trees.Peak(subject.pids):
                arrivals = load.Arrivals(subject.ask, clips, pace).begin()
                beside += subject.bare().ready_seconds
                arrivals.end()
        with trees.Peak(subject.pids):  # looking at memory takes time of the same processors, so it does in both phases
            arrivals = load.Arrivals(subject.ask, clips, pace).begin()
            _rest(1.0 if plan.quick else STEADY_SECONDS)
            steady += arrivals.end()
        done.append(_one_swap(subject, clips, pace))
        settled()
        said = {key: value for key, value in done[-1].items() if key != "seconds"}
        print(f"replacing {subject.name} {number + 1}: {said}", file=sys.stderr, flush=True)
    seconds = [seen.seconds for seen in steady if not seen.failure]
    return {
        "full_clips_per_second": full,
        "pace_seconds": pace,
        "steady": {
            "requests": len(steady),
            "failed": sum(bool(seen.failure) for seen in steady),
            **{f"p{p}_seconds": load.percentile(seconds, p) for p in (50, 95, 99)},
            "longest_seconds": max(seconds, default=0.0),
        },
        "swaps": done,
        "bare_load_seconds": bares,
        "bare_beside_seconds": beside,
    }


def _one_swap(subject: Subject, clips: Any, pace: float) -> dict[str, Any]:
    """Moves the link to the other version under load and watches until AFTER_SECONDS after the last old answer."""
    there = subject.link.resolve()
    other = there.with_name(VERSIONS[1 - VERSIONS.index(there.name)])
    before = trees.memory(subject.pids())["pss"]
    with trees.Peak(subject.pids) as peak:
        arrivals = load.Arrivals(subject.ask, clips, pace).begin()
        _rest(1.0)
        moved, at = time.monotonic(), datetime.now(UTC)
        point(subject.link, other.name if subject.name == "modelward" else other)
        telling = threading.Thread(target=subject.replace)
        telling.start()
        while time.monotonic() < moved + GIVE_UP_SECONDS and not _over(arrivals.seen, other.name, time.monotonic()):
            _rest(0.1)
        telling.join()
        seen = arrivals.end()
    ready = [(time - at).total_seconds() for time in subject.ready(other.name, at)]
    return {
        **_felt(seen, other.name, moved),
        "ready_seconds": ready,
        "memory_before": before,
        "memory_peak": max(peak.samples),
        "memory_after": trees.memory(subject.pids())["pss"],
    }


def _over(seen: list[load.Seen], version: str, now: float) -> bool:
    """Whether the new version answers, and has done so alone for AFTER_SECONDS."""
    answered = list(seen)
    changes = [one.done for one in answered if one.version not in ("", version)]
    firsts = [one.done for one in answered if one.version == version]
    return bool(firsts) and now > max([min(firsts), *changes]) + AFTER_SECONDS


def _felt(seen: list[load.Seen], version: str, moved: float) -> dict[str, Any]:
    """What clients saw from the move on: times from it in seconds, None for what did not come about."""
    later = [one for one in seen if one.done >= moved]
    new = [one.done - moved for one in later if one.version == version]
    old = [one.done - moved for one in later if one.version not in ("", version)]
    answered = [one.seconds for one in later if not one.failure]
    return {
        "requests": len(later),
        "failed": sum(bool(one.failure) for one in later),
        "failures": sorted({one.failure for one in later if one.failure})[:3],
        "first_seconds": min(new, default=None),
        "last_seconds": None if not new else min((t for t in new if t > max(old, default=0.0)), default=None),
        "longest_seconds": max(answered, default=0.0),
    }


def _rest(seconds: float) -> None:
    threading.Event().wait(seconds)
