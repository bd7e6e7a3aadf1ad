"""`modelward restart [WORKER]`: replaces one worker or all, one at a time, replacement first."""

from __future__ import annotations

import argparse

from .argument_types import something
from .options import json_option, socket_option
from .request_and_wait import ask


def arguments(parser: argparse.ArgumentParser) -> None:
    """WORKER, --json, --socket."""
    parser.add_argument(
        "worker", metavar="WORKER", nargs="?", type=something, help="a worker's name (default: all of them)"
    )
    json_option(parser)
    socket_option(parser)


def run(args: argparse.Namespace) -> int:
    """0 done, 1 refused, 3 no daemon."""
    return ask(args, "/v1/restart", {"worker": args.worker} if args.worker else {})
