"""`modelward alerts`: what is alarming now; `modelward alerts test`: does a message arrive?"""

from __future__ import annotations

import argparse
import sys

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
    paint,
    table,
    terminal_columns,
)
from .request_and_wait import decided, granted

HEADERS = ("SINCE", "STATE", "SEVERITY", "WHAT")
CHANNEL_HEADERS = ("CHANNEL", "OUTCOME", "BECAUSE")


def arguments(parser: argparse.ArgumentParser) -> None:
    """[test], --json, --socket."""
    parser.add_argument(
        "what", nargs="?", choices=("list", "test"), default="list", help="list them (default), or test"
    )
    json_option(parser)
    socket_option(parser)


def run(args: argparse.Namespace) -> int:
    """0 shown or every channel reached, 1 when a channel was not, 3 no daemon."""
    return _test(args) if args.what == "test" else _list(args)


def _list(args: argparse.Namespace) -> int:
    answer = client(args).get("/v1/alerts")
    if args.json:
        print_json(answer)
        return 0
    colour = colours(sys.stdout)
    rows = [
        (local(a.get("since")), clean(a.get("state")), clean(a.get("severity")), clean(a.get("message")))
        for a in items(answer.data, "alerts")
    ]
    print(table(HEADERS, rows, columns=terminal_columns(sys.stdout), colour=colour) if rows else "nothing is alarming")
    failing = [c for c in items(answer.data, "channels") if c.get("failures")]
    for channel in failing:
        said = f"alerts do not arrive at {clean(channel.get('channel'))}: {clean(channel.get('because'))}"
        print(paint(said, "red", colour))
    return 0


def _test(args: argparse.Namespace) -> int:
    answer = decided(args, "/v1/alerts/test", {})
    if args.json:
        print_json(answer)
        return 0 if granted(answer) else 1
    rows = [
        (clean(c.get("channel")), "arrived" if c.get("delivered") else "failed", clean(c.get("because")) or "-")
        for c in items(answer.data, "channels")
    ]
    if rows:
        print(table(CHANNEL_HEADERS, rows, columns=terminal_columns(sys.stdout), colour=colours(sys.stdout)))
    print(clean(answer.data.get("message")), file=sys.stdout if granted(answer) else sys.stderr)
    return 0 if granted(answer) else 1
