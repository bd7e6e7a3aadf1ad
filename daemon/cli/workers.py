"""`modelward workers`: the state of each worker, and the version that it serves."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Final

from ..units import size, span
from .language import label, say
from .options import (
    client,
    json_option,
    print_json,
    socket_option,
)
from .render import (
    Cell,
    clean,
    colours,
    table,
    terminal_columns,
)

if TYPE_CHECKING:
    from ..answers.workers import WorkerReport

HEADERS: Final = ("WORKER", "PID", "STATE", "SERVING", "INFLIGHT", "REQUESTS", "ERRORS", "P95", "MEMORY", "NOTE")
_COLOURS: Final = {"ready": "green", "loading": "yellow", "waiting": "yellow", "blocked": "red"}


def arguments(parser: argparse.ArgumentParser) -> None:
    """--json, --socket."""
    json_option(parser)
    socket_option(parser)


def run(args: argparse.Namespace) -> int:
    """0 shown, 3 no daemon."""
    answer = client(args).get("/v1/workers")
    if args.json:
        print_json(answer)
        return 0
    from ..answers.workers import WorkersAnswer

    rows = [row(worker) for worker in answer.read(WorkersAnswer).workers]
    if not rows:
        say("no worker")
        return 0
    print(table(HEADERS, rows, columns=terminal_columns(sys.stdout), colour=colours(sys.stdout)))
    return 0


def row(worker: WorkerReport) -> list[Cell]:
    """One worker as cells."""
    state = clean(worker.state)
    return [
        clean(worker.name) or "-",
        str(worker.pid or "-"),
        (label(state), _COLOURS.get(state, "")),
        clean(worker.serving) or "-",
        *map(str, (worker.inflight, worker.requests, worker.errors)),
        span(worker.p95_seconds) if worker.p95_seconds else "-",
        size(worker.rss_bytes),
        label("attached") if worker.attached else clean(worker.because or ""),
    ]
