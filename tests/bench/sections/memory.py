"""Proportional memory of 1, 2 and 4 workers, each of which has answered a short and a long clip.

PSS counts a page that several processes map as a part of each, so the sum is what the machine really gives. Daemon and
parents are in it.
"""

from __future__ import annotations

import sys
from typing import Any

from tests.bench import load, peers, trees
from tests.bench.clips import pool
from tests.bench.ours import Modelward, versions
from tests.bench.peers.peer import CORES
from tests.bench.plan import Plan
from tests.bench.servers import Server, placed

COUNTS = (1, 2, 4)
PEERS = ("funasr_fastapi", "flask_lock", "sherpa")
SHORT, LONG = 5.0, 30.0


def measure(plan: Plan) -> dict[str, Any]:
    """{"systems": {name: {title, setup, "workers": {count: {pss, rss, private, processes}}}}}, MiB."""
    systems: dict[str, Any] = {"modelward": {"title": "modelward", "setup": "daemon and workers", "workers": {}}}
    for count in COUNTS:
        ours = plan.modelward(count)
        try:
            ours.start(pool(1.0)[0])
            systems["modelward"]["workers"][str(count)] = _held(plan, ours, count)
        finally:
            ours.stop()
    for name in PEERS:
        peer = peers.find(name)
        environment = plan.environment(peer)
        facts = {"title": peer.title, "setup": peer.setup, "versions": environment.versions(peer.requirements)}
        systems[peer.name] = facts
        if environment.python is None:
            facts["missing"] = environment.because
            continue
        facts["workers"] = {str(count): _copies(plan, name, environment.python, count) for count in COUNTS}
    return {"systems": systems}


def _copies(plan: Plan, name: str, python: Any, count: int) -> dict[str, float]:
    """What knows no workers is started `count` times; the others are told how many they shall have."""
    peer = peers.find(name)
    link = versions(plan.root / ("small-versions" if plan.quick else "versions"), plan.model)[0]
    several = peer.name == "funasr"
    servers = []
    try:
        for number in range(1 if several else count):
            place = placed(python, link, plan.scratch / f"{name}-{number}", count if several else CORES)
            servers.append(Server(peer, place).start(pool(1.0)[0]))
        return _held(plan, servers[0], count) if several else _sum(plan, servers)
    finally:
        for server in servers:
            server.stop()


def _held(plan: Plan, server: Modelward | Server, count: int) -> dict[str, float]:
    """After so many clips at once that each worker has had some of both lengths."""
    for seconds in (1.0,) if plan.quick else (SHORT, LONG):
        load.closed(server.ask, pool(seconds), 4 * count, 8 * count)
    found = {**trees.memory(server.pids()), "processes": len(server.pids())}
    print(f"memory {server.name} × {count}: {found}", file=sys.stderr, flush=True)
    return found


def _sum(plan: Plan, servers: list[Server]) -> dict[str, float]:
    for server in servers:
        for seconds in (1.0,) if plan.quick else (SHORT, LONG):
            load.closed(server.ask, pool(seconds), 1, 2)
    pids = [pid for server in servers for pid in server.pids()]
    found = {**trees.memory(pids), "processes": len(pids)}
    print(f"memory {servers[0].name} × {len(servers)}: {found}", file=sys.stderr, flush=True)
    return found
