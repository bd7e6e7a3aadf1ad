"""Reads the workers' trace (debug.log) and finds the moments at which something waited although a slot was free."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path


@dataclass(frozen=True)
class Run:
    """One run of the model: seconds of the monotonic clock at which it was asked for, began and ended."""

    worker: str
    request: str
    slot: int
    threads: int
    asked: float
    began: float
    ended: float


def runs_in(log_dir: Path) -> list[Run]:
    """Every run that ended, of all workers, by its beginning."""
    lines = map(json.loads, (log_dir / "debug.log").read_text(encoding="utf-8").splitlines())
    keys = ("worker", "request", "slot", "threads", "asked", "began", "ended")
    found = [Run(**{key: line[key] for key in keys}) for line in lines if line["event"] == "ran"]
    return sorted(found, key=lambda run: run.began)


def idle_while_waiting(runs: Iterable[Run], slots: int) -> list[float]:
    """How long, each time, something waited while fewer than `slots` runs were in progress, seconds."""
    changes: Counter[tuple[float, str]] = Counter()
    for run in runs:
        changes[run.asked, "waiting"] += 1
        changes[run.began, "waiting"] -= 1
        changes[run.began, "running"] += 1
        changes[run.ended, "running"] -= 1
    moments = sorted({at for at, _ in changes})
    waiting = running = 0
    spells = [0.0]
    for at, after in pairwise(moments):
        waiting += changes[at, "waiting"]
        running += changes[at, "running"]
        if waiting and running < slots:
            spells[-1] += after - at
        elif spells[-1]:
            spells.append(0.0)
    return [spell for spell in spells if spell]


def most_at_once(runs: Iterable[Run]) -> int:
    """The greatest number of runs in progress at one moment."""
    changes = sorted([(run.began, 1) for run in runs] + [(run.ended, -1) for run in runs])
    most = now = 0
    for _, change in changes:
        now += change
        most = max(most, now)
    return most
