"""`modelward history`: what happened, the newest last, as in a log."""

from __future__ import annotations

import argparse
import sys

from ..errors import BadUsage
from .options import (
    client,
    json_option,
    print_json,
    socket_option,
)
from .render import (
    clean,
    colours,
    items,
    local,
    parse_time,
    table,
    terminal_columns,
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """-n, --json, --socket."""
    parser.add_argument("-n", metavar="N", type=int, default=50, help="how many, the newest (default 50)")
    json_option(parser)
    socket_option(parser)


def run(args: argparse.Namespace) -> int:
    """0 shown, 2 for a count below 1, 3 no daemon."""
    if args.n < 1:
        raise BadUsage(f"cannot show {args.n} entries: -n takes 1 or more")
    answer = client(args).get("/v1/history", n=args.n)
    if args.json:
        print_json(answer)
        return 0
    entries = items(answer.data, "history")
    if not entries:
        print("nothing has happened yet")
        return 0
    # Whatever order the daemon lists them in, people read downwards in time.
    entries.sort(key=lambda entry: moment.timestamp() if (moment := parse_time(entry.get("time"))) else 0.0)
    rows = [
        (local(e.get("time")), clean(e.get("kind")), clean(e.get("version")) or "-", clean(e.get("because")))
        for e in entries
    ]
    headers = ("TIME", "WHAT", "VERSION", "BECAUSE")
    print(table(headers, rows, columns=terminal_columns(sys.stdout), colour=colours(sys.stdout)))
    return 0
