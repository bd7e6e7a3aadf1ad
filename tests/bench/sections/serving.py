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

from tests.bench import (
    cells,
    load,
    peers,
    trees,
)
from tests.bench.bare import Bare
from tests.bench.cells import Cell
from tests.bench.clips import pool
from tests.bench.ours import Modelward
from tests.bench.peers.peer import CORES
from tests.bench.plan import Plan
from tests.bench.precision import SECTION, Precision
from tests.bench.servers import Server, placed
from tests.bench.sums import LIMITS

PEERS = ("funasr_fastapi", "sherpa", "flask_lock")
PIECE_SECONDS = 30.0  # nobody runs more of a clip at once

Turn = Callable[[float, int, int], dict[str, Any]]


def measure(plan: Plan, precision: Precision = "int8") -> dict[str, Any]:
    """{"cells": [{"clip_seconds", "clients", "systems": {name: [turn of each round]}}], "systems": {name: facts}}."""
    asked = cells.QUICK if plan.quick else cells.wanted(cells.CELLS[precision], plan.clips)
    with ExitStack() as stack:
        facts, turns = _start(plan, precision, stack, {name for cell in asked for name in cell.limits})
        found: list[dict[str, Any]] = []
        warm: set[float] = set()
        for cell in asked:
            if (length := min(cell.seconds, PIECE_SECONDS)) not in warm:
                for turn in turns.values():
                    turn(length, CORES, len(pool(length)))  # not counted: pages and caches are in place after it
                warm.add(length)
            try:
                found.append(_cell(SECTION[precision], turns, cell))
            except SystemExit:  # told to end: what is whole is kept
                if not found:
                    raise
                break
    return {"systems": facts, "cells": found}


def _start(
    plan: Plan, precision: Precision, stack: ExitStack, limits: set[str]
) -> tuple[dict[str, Any], dict[str, Turn]]:
    first = pool(1.0)[0]
    ours = plan.modelward(precision=precision)
    stack.callback(ours.stop)
    ours.start(first)
    link = ours.house.models / "current"
    setup = f"{CORES} workers, one thread each; a run that has the machine to itself gets {CORES}"
    facts: dict[str, Any] = {"modelward": {"title": "modelward", "setup": setup}}
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
        if name not in limits:
            continue
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


def _cell(section: str, turns: dict[str, Turn], cell: Cell) -> dict[str, Any]:
    names = [name for name in turns if name not in LIMITS or name in cell.limits]
    systems: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for number in range(cell.rounds):
        shift = number % len(names)
        for name in names[shift:] + names[:shift]:
            systems[name].append(turns[name](cell.seconds, cell.clients, cell.requests))
        said = ", ".join(f"{name} {rounds[-1]['clips_per_second']:.2f}" for name, rounds in systems.items())
        print(f"{section} {cell.seconds:g} s, {cell.clients} clients: {said}", file=sys.stderr, flush=True)
    return {"clip_seconds": cell.seconds, "clients": cell.clients, "systems": systems}
