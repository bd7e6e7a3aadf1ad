"""`modelward logs`: the end of a log, its archives included, and with -f what comes, across every way of rotation.

Reads the files itself, so that logs can be read when the daemon is down: then the configuration names their place.
Invariant: what goes to standard output is lines of the log alone; what could not be read goes to standard error.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ..config.load import load_or_default
from ..errors import BadUsage, Refused, Unreachable
from ..system.clock import SystemClock
from ..units import describe, parse_duration, size
from ..upkeep.from_config import ON_STANDARD_OUTPUT, OWN_LOGS, log_sets
from ..upkeep.logs.follow import Follower
from ..upkeep.logs.line_times import Since, time_of
from ..upkeep.logs.log_directory import live_paths
from .argument_types import something
from .language import say
from .options import client, socket_option
from .render import (
    clean,
    table,
)

if TYPE_CHECKING:
    from ..answers.logs import LogsAnswer

POLL_MILLISECONDS: Final = 200
LINES: Final = 50


def arguments(parser: argparse.ArgumentParser) -> None:
    """NAME, -f, -n, --since, --json, --list, --config, --socket."""
    parser.add_argument("name", metavar="NAME", nargs="?", default=OWN_LOGS[0], help="which (default modelward.log)")
    parser.add_argument("-f", "--follow", action="store_true", help="go on with what comes")
    parser.add_argument(
        "-n", metavar="N", type=int, default=None, help=f"how many lines to begin with (default {LINES})"
    )
    parser.add_argument(
        "--since",
        metavar="TIME",
        default="",
        help="lines from then on, archives included: 2h, 7d, 2026-01-02T03:04:05Z",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a line, also of logs that are other text")
    parser.add_argument("--list", action="store_true", dest="listing", help="which logs there are")
    parser.add_argument("--config", metavar="FILE", type=something, help="where logs are, when no daemon answers")
    socket_option(parser)


def run(args: argparse.Namespace) -> int:
    """0 shown, 1 no such log or it can't be read, 2 for a count or time that is none, 3 no daemon and no logs."""
    if args.n is not None and args.n < 0:
        raise BadUsage(f"cannot show {args.n} lines: -n takes 0 or more")
    since = _since(args.since)
    known, on_standard_output = _known(args)
    if args.listing:
        _list(args, known)
        if on_standard_output:
            say(ON_STANDARD_OUTPUT, file=sys.stderr)
        return 0
    path = _path(args.name, known, on_standard_output)
    try:
        if since is None:
            follower = Follower(path, lines=LINES if args.n is None else args.n)
        else:
            follower = Follower(path, since=since)
    except OSError as e:
        raise Refused(f"cannot read {path}: {e.strerror}; nothing is shown") from e
    try:
        _show(follower.first, args)
        _go_on(follower, args, None if since is None else Since(since))
    except OSError as e:
        if isinstance(e, BrokenPipeError):
            raise
        raise Refused(f"cannot read {path} any further: {e.strerror}") from e
    finally:
        follower.close()
    return 0


def _go_on(follower: Follower, args: argparse.Namespace, since: Since | None) -> None:
    """Shows what a time asks for, at most -n lines of it, and then what comes; ends when there is no more to show."""
    kept: list[bytes] = []
    while follower.behind:
        lines = [line for line in follower.poll() if since is None or since.keeps(line)]
        _report(follower)
        if args.n is None:
            _show(lines, args)
        else:
            kept = [*kept, *lines][-args.n :] if args.n else []
    _show(kept, args)
    while args.follow:
        _report(follower)
        if not follower.behind:
            select.poll().poll(POLL_MILLISECONDS)
        _show(follower.poll(), args)
    _report(follower)


def _since(text: str) -> float | None:
    """Seconds since 1970; None when no time is given. Raises BadUsage."""
    if not text:
        return None
    try:
        return SystemClock().wall() - parse_duration(text)
    except ValueError:
        moment = time_of((text if len(text) > len("2026-01-02") else f"{text}T00:00:00").encode())
    if moment is None:
        raise BadUsage(f"cannot show lines since {describe(text)}: 2h, 7d, 2026-01-02 or 2026-01-02T03:04:05Z")
    return moment


def _list(args: argparse.Namespace, known: list[tuple[str, str]]) -> None:
    if args.json:
        print(json.dumps([{"name": name, "path": path} for name, path in known]))
        return
    print(table(("LOG", "SIZE", "PATH"), [(name, _size(path), path) for name, path in known]))
    for line in _gone(args):
        say(line)


def _known(args: argparse.Namespace) -> tuple[list[tuple[str, str]], bool]:
    """Names and paths of the logs, from the daemon, else from the configuration; whether ours are on standard output.

    Raises Unreachable when the configuration was not named and knows of none: the daemon's may well be another.
    """
    try:
        answer = _logs(args)
        return [(clean(log.name), log.path) for log in answer.logs], answer.standard_output
    except Unreachable:
        config, _ = load_or_default(Path(args.config) if args.config else None, os.environ)
        found = [path for log_set in log_sets(config) for path in live_paths(log_set.directory, log_set.patterns)]
        if not found and not args.config:
            raise
        return [(clean(path.rpartition("/")[2]), path) for path in found], config.logs.dir is None


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


def _path(name: str, known: list[tuple[str, str]], on_standard_output: bool) -> str:
    for other, path in known:
        if name in (other, other.removesuffix(".log"), path):
            return path
    if on_standard_output and f"{name.removesuffix('.log')}.log" in OWN_LOGS:
        raise Refused(f"cannot show {name}: {ON_STANDARD_OUTPUT}")
    names = ", ".join(other for other, _ in known) or "none yet"
    raise Refused(f"cannot show {name}: no log of that name; there are: {names}")


def _size(path: str) -> str:
    try:
        return size(os.stat(path).st_size)
    except OSError:
        return "-"


def _show(lines: list[bytes], args: argparse.Namespace) -> None:
    for line in lines:
        text = line.decode("utf-8", "replace")
        print(_as_json(text, args.name) if args.json else clean(text))
    sys.stdout.flush()


def _as_json(text: str, name: str) -> str:
    """The line as one JSON object: as it is when it is one, else under `line`."""
    try:
        if isinstance(found := json.loads(text), dict):
            return json.dumps(found)
    except (ValueError, RecursionError):
        pass
    return json.dumps({"log": name, "line": text})


def _report(follower: Follower) -> None:
    for remark in follower.remarks:
        say(clean(remark), file=sys.stderr)
    follower.remarks.clear()
