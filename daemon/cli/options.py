"""The options that many verbs share, and the one function that prints an answer unchanged."""

from __future__ import annotations

import argparse

from .argument_types import something
from .client import ApiAnswer, Client
from .socket_path import DEFAULT_SOCKET


def socket_option(parser: argparse.ArgumentParser) -> None:
    """`--socket PATH`, for every verb that talks to the daemon."""
    parser.add_argument(
        "--socket",
        metavar="PATH",
        type=something,
        help=f"the daemon's socket (default $MODELWARD_SOCKET or {DEFAULT_SOCKET})",
    )


def json_option(parser: argparse.ArgumentParser) -> None:
    """`--json`: the answer for programs."""
    parser.add_argument("--json", action="store_true", help="print the daemon's answer as JSON")


def client(args: argparse.Namespace) -> Client:
    """The daemon that `--socket` names."""
    return Client(args.socket or "")


def print_json(answer: ApiAnswer) -> None:
    """The daemon's JSON, untouched."""
    print(answer.text.rstrip("\n"))
