"""`modelward history`: what happened, the newest last, as in a log."""

from __future__ import annotations

import argparse
import sys

from ..errors import BadUsage
from .language import label, say
from .options import (
    client,
    json_option,
    print_json,
    socket_option,
)
from .render import (
    clean,
    colours,
    local,
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
    from ..answers.history import HistoryAnswer

    lines = answer.read(HistoryAnswer).history
    if not lines:
        say("nothing has happened yet")
        return 0
    # The daemon lists the newest first; people read downwards in time.
    rows = [(local(e.time), label(clean(e.kind)), clean(e.version) or "-", clean(e.because)) for e in reversed(lines)]
    headers = ("TIME", "WHAT", "VERSION", "BECAUSE")
    print(table(headers, rows, columns=terminal_columns(sys.stdout), colour=colours(sys.stdout)))
    return 0
