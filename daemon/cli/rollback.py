"""`modelward rollback`: back to the version that served before; the one left is held."""

from __future__ import annotations

import argparse

from .options import json_option, socket_option
from .request_and_wait import ask


def arguments(parser: argparse.ArgumentParser) -> None:
    """--json, --socket."""
    json_option(parser)
    socket_option(parser)


def run(args: argparse.Namespace) -> int:
    """0 done, 1 refused, 3 no daemon."""
    return ask(args, "/v1/rollback", {})
