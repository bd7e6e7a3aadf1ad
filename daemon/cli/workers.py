"""`modelward workers`: who serves what, and how it fares."""

from __future__ import annotations

import argparse
import sys
from typing import Any, Final

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
    items,
    size,
    span,
    table,
    terminal_columns,
)

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
    rows = [row(worker) for worker in items(answer.data, "workers")]
    if not rows:
        print("no worker")
        return 0
    print(table(HEADERS, rows, columns=terminal_columns(sys.stdout), colour=colours(sys.stdout)))
    return 0


def row(worker: dict[str, Any]) -> list[Cell]:
    """One worker as cells."""
    state = clean(worker.get("state"))
    note = "attached" if worker.get("attached") else clean(worker.get("because"))
    counts: list[Cell] = [clean(worker.get(key, "-")) for key in ("inflight", "requests", "errors")]
    return [
        clean(worker.get("name")) or "-",
        clean(worker.get("pid") or "-"),
        (state, _COLOURS.get(state, "")),
        clean(worker.get("serving")) or "-",
        *counts,
        span(worker.get("p95_seconds")),
        size(worker.get("rss_bytes")),
        note,
    ]
