"""`modelward logs`: the end of a log file, and with -f what comes, across every way of rotation.

Reads the file itself, so that logs can be read when the daemon is down: then the configuration says where they are.
"""

from __future__ import annotations

import argparse
import os
import select
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ..config.load import load_or_default
from ..errors import BadUsage, Refused, Unreachable
from ..units import size
from ..upkeep.from_config import OWN_LOGS
from ..upkeep.logs.follow import Follower
from .language import say
from .options import client, socket_option
from .render import (
    clean,
    table,
)

if TYPE_CHECKING:
    from ..answers.logs import LogsAnswer

POLL_MILLISECONDS: Final = 200


def arguments(parser: argparse.ArgumentParser) -> None:
    """NAME, -f, -n, --list, --config, --socket."""
    parser.add_argument("name", metavar="NAME", nargs="?", default=OWN_LOGS[0], help="which (default modelward.log)")
    parser.add_argument("-f", "--follow", action="store_true", help="go on with what comes")
    parser.add_argument("-n", metavar="N", type=int, default=50, help="how many lines to begin with (default 50)")
    parser.add_argument("--list", action="store_true", dest="listing", help="which logs there are")
    parser.add_argument("--config", metavar="FILE", default="", help="where logs are, when no daemon answers")
    socket_option(parser)


def run(args: argparse.Namespace) -> int:
    """0 shown, 1 no such log or it can't be read, 2 for a count below 0, 3 no daemon and no logs where it has them."""
    if args.n < 0:
        raise BadUsage(f"cannot show {args.n} lines: -n takes 0 or more")
    known = _known(args)
    if args.listing:
        print(table(("LOG", "SIZE", "PATH"), [(name, _size(path), path) for name, path in known]))
        for line in _gone(args):
            say(line)
        return 0
    path = _path(args.name, known)
    try:
        follower = Follower(path, lines=args.n)
    except OSError as e:
        raise Refused(f"cannot read {path}: {e.strerror}; nothing is shown") from e
    try:
        _show(follower.first)
        while args.follow:
            select.poll().poll(POLL_MILLISECONDS)
            _show(follower.poll())
    finally:
        follower.close()
    return 0


def _known(args: argparse.Namespace) -> list[tuple[str, str]]:
    """Names and paths of the logs, from the daemon, else from the configuration (our own only).

    Raises Unreachable when the configuration was not named and knows of none: the daemon's may well be another.
    """
    try:
        return [(clean(log.name), log.path) for log in _logs(args).logs]
    except Unreachable:
        config, _ = load_or_default(Path(args.config) if args.config else None)
        directory = config.logs.dir
        ours = [(name, str(directory / name)) for name in OWN_LOGS if (directory / name).exists()]
        if not ours and not args.config:
            raise
        return ours


def _gone(args: argparse.Namespace) -> list[str]:
    """Log files that were deleted and that a process of the daemon's still writes to; none without a daemon."""
    try:
        found = _logs(args).deleted_open
    except Unreachable:
        return []
    return [f"deleted but open: {clean(entry.path)}, pid {entry.pid}" for entry in found]


def _logs(args: argparse.Namespace) -> LogsAnswer:
    answer = client(args).get("/v1/logs")
    from ..answers.logs import LogsAnswer

    return answer.read(LogsAnswer)


def _path(name: str, known: list[tuple[str, str]]) -> str:
    for other, path in known:
        if name in (other, other.removesuffix(".log"), path):
            return path
    names = ", ".join(other for other, _ in known) or "none yet"
    raise Refused(f"cannot show {name}: no log of that name; there are: {names}")


def _size(path: str) -> str:
    try:
        return size(os.stat(path).st_size)
    except OSError:
        return "-"


def _show(lines: list[bytes]) -> None:
    for line in lines:
        print(clean(line.decode("utf-8", "replace")))
    sys.stdout.flush()
