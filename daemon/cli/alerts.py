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
    local,
    paint,
    table,
    terminal_columns,
)
from .request_and_wait import decided, refused

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
    from ..answers.alerts import AlertsAnswer

    found, colour = answer.read(AlertsAnswer), colours(sys.stdout)
    rows = [(local(a.since), clean(a.state), clean(a.severity), clean(a.message)) for a in found.alerts]
    print(table(HEADERS, rows, columns=terminal_columns(sys.stdout), colour=colour) if rows else "nothing is alarming")
    for channel in found.channels:
        if channel.failures:
            said = f"alerts do not arrive at {clean(channel.channel)}: {clean(channel.because)}"
            print(paint(said, "red", colour))
    return 0


def _test(args: argparse.Namespace) -> int:
    answer = decided(args, "/v1/alerts/test", {})
    if answer.status >= 400:
        return refused(args, answer)
    from ..answers.alerts import AlertsTestAnswer

    done = answer.read(AlertsTestAnswer)
    if args.json:
        print_json(answer)
        return 0 if done.success else 1
    rows = [(clean(c.channel), "arrived" if c.delivered else "failed", clean(c.because) or "-") for c in done.channels]
    if rows:
        print(table(CHANNEL_HEADERS, rows, columns=terminal_columns(sys.stdout), colour=colours(sys.stdout)))
    print(clean(done.message), file=sys.stdout if done.success else sys.stderr)
    return 0 if done.success else 1
