"""Clips a second, latency and CPU time of each server, the same clips from the same clients, turn by turn.

All servers are up the whole time and one is asked at a time; every round goes through all of them, so that the
machine's moods hit all alike and ratios are taken round by round. ONNX Runtime alone in a loop is one of them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.bench import load, peers, trees
from tests.bench.bare import Bare
from tests.bench.clips import pool
from tests.bench.ours import Modelward
from tests.bench.peers.peer import CORES
from tests.bench.plan import Plan
from tests.bench.servers import Server, placed

PEERS = ("funasr_fastapi", "sherpa", "flask_lock")
# clip seconds → clients → requests a turn
CELLS = {
    5.0: {1: 8, 4: 24, 16: 48},
    10.0: {1: 6, 4: 16, 16: 32},
    30.0: {1: 3, 4: 8, 16: 16},
    600.0: {1: 1},
}
LONG_CELLS = {600.0: {4: 4}}  # five minutes; with 16 clients it would be half an hour
ROUNDS = {5.0: 3, 10.0: 3, 30.0: 2, 600.0: 1}
QUICK_CELLS = {1.0: {1: 2, 4: 4}}

Turn = Callable[[float, int, int], dict[str, Any]]


def measure(plan: Plan) -> dict[str, Any]:
    """{"cells": [{"clip_seconds", "clients", "systems": {name: [turn of each round]}}], "systems": {name: facts}}."""
    cells = QUICK_CELLS if plan.quick else LONG_CELLS if plan.long else CELLS
    cells = {seconds: amounts for seconds, amounts in cells.items() if not plan.clips or seconds in plan.clips}
    with ExitStack() as stack:
        facts, turns = _start(plan, stack, min(cells))
        found = []
        for seconds, amounts in cells.items():
            for turn in turns.values():
                if seconds <= 60:
                    turn(seconds, CORES, len(pool(seconds)))  # not counted: pages and caches are in place after it
            try:
                for clients, requests in amounts.items():
                    found.append(_cell(plan, turns, seconds, clients, requests))
            except SystemExit:  # told to end: what is whole is kept
                if not found:
                    raise
                break
    return {"systems": facts, "cells": found}


def _start(plan: Plan, stack: ExitStack, shortest: float) -> tuple[dict[str, Any], dict[str, Turn]]:
    first = pool(shortest)[0]
    ours = plan.modelward()
    stack.callback(ours.stop)
    ours.start(first)
    link = ours.house.models / "current"
    facts: dict[str, Any] = {"modelward": {"title": "modelward", "setup": f"{CORES} workers, one thread each"}}
    turns: dict[str, Turn] = {"modelward": _asked(ours)}
    for name in PEERS:
        peer = peers.find(name)
        environment = plan.environment(peer)
        facts[peer.name] = {
            "title": peer.title,
            "setup": peer.setup,
            "versions": environment.versions(peer.requirements),
        }
        if environment.python is None:
            facts[peer.name]["missing"] = environment.because
            continue
        server = Server(peer, placed(environment.python, link, plan.scratch / peer.name))
        stack.callback(server.stop)
        turns[peer.name] = _asked(server.start(first))
    artifact = ours.artifact()
    for name, title, directory, mapped, mode in (
        ("bare", "ONNX Runtime alone, our artifact", artifact, True, "session"),
        ("pipeline", "the same, with features and text", artifact, True, "pipeline"),
        ("bare-original", "ONNX Runtime alone, the file as it came", link.resolve(), False, "session"),
    ):
        bare = Bare(Path(directory), mapped, mode, CORES)
        stack.callback(bare.stop)
        turns[name] = bare.start().turn
        facts[name] = {"title": title, "setup": f"{CORES} processes, one thread each"}
    return facts, turns


def _asked(server: Modelward | Server) -> Turn:
    def turn(seconds: float, clients: int, requests: int) -> dict[str, Any]:
        before = trees.cpu_seconds(server.pids())
        made = load.closed(server.ask, pool(seconds), clients, requests)
        used = trees.cpu_seconds(server.pids()) - before
        return {**made.figures(), "cpu_seconds": used / max(1, len(made.seconds)), "failures": made.failures[:3]}

    return turn


def _cell(plan: Plan, turns: dict[str, Turn], seconds: float, clients: int, requests: int) -> dict[str, Any]:
    systems: dict[str, list[dict[str, Any]]] = {name: [] for name in turns}
    for number in range(1 if plan.quick else ROUNDS[seconds]):
        names = list(turns)
        shift = number % len(names)
        for name in names[shift:] + names[:shift]:
            systems[name].append(turns[name](seconds, clients, requests))
        said = ", ".join(f"{name} {rounds[-1]['clips_per_second']:.2f}" for name, rounds in systems.items())
        print(f"serving {seconds:g} s, {clients} clients: {said}", file=sys.stderr, flush=True)
    return {"clip_seconds": seconds, "clients": clients, "systems": systems}
