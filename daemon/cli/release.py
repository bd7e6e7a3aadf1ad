"""`modelward release VERSION`: allow a held version to be chosen automatically again."""

from __future__ import annotations

import argparse

from .argument_types import version_name
from .options import json_option, socket_option
from .request_and_wait import ask


def arguments(parser: argparse.ArgumentParser) -> None:
    """VERSION, --json, --socket."""
    parser.add_argument("version", metavar="VERSION", type=version_name, help="a directory's name under the model root")
    json_option(parser)
    socket_option(parser)


def run(args: argparse.Namespace) -> int:
    """0 done, 1 refused, 3 no daemon."""
    return ask(args, "/v1/release", {"version": args.version})
