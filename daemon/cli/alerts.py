"""`modelward alerts`: what is alarming now; `test`, `mute`, `unmute` and `ack`: what is sent about it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from ..errors import BadUsage
from ..units import parse_duration
from .language import label, local_text, say
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
from .request_and_wait import ask, decided, refused

if TYPE_CHECKING:
    from ..answers.alerts import AlertReport, AlertsAnswer

HEADERS = ("SINCE", "STATE", "SEVERITY", "WHAT")
CHANNEL_HEADERS = ("CHANNEL", "OUTCOME", "BECAUSE")
NEEDED: Final = {"list": 0, "test": 0, "mute": 2, "unmute": 0, "ack": 1}
"""Arguments that each word must have; and the most that it may have."""
MOST: Final = NEEDED | {"unmute": 1}


def arguments(parser: argparse.ArgumentParser) -> None:
    """[list | test | mute NAME DURATION | unmute [NAME] | ack NAME], --why, --json, --socket."""
    parser.add_argument(
        "what",
        nargs="?",
        choices=list(NEEDED),
        default="list",
        help="list them (default); test: a message to everybody; mute NAME DURATION: send nothing for a time; "
        "unmute [NAME]: end one mute or all; ack NAME: not sent again until it has ended",
    )
    parser.add_argument("name", nargs="?", metavar="NAME", default="", help="an alert as it is listed, or all")
    parser.add_argument("duration", nargs="?", metavar="DURATION", default="", help="like 30m, 4h or 2d; at most 30d")
    parser.add_argument("--why", metavar="TEXT", default="", help="the reason, for whoever looks next")
    json_option(parser)
    socket_option(parser)


def run(args: argparse.Namespace) -> int:
    """0 shown or done, every channel reached; 1 refused, or a channel was not reached; 3 no daemon."""
    _check(args)
    if args.what == "mute":
        return ask(args, "/v1/alerts/mute", {"name": args.name, "duration": args.duration, "why": args.why})
    if args.what == "unmute":
        return ask(args, "/v1/alerts/unmute", {"name": args.name})
    if args.what == "ack":
        return ask(args, "/v1/alerts/ack", {"name": args.name, "why": args.why})
    return _test(args) if args.what == "test" else _list(args)


def _check(args: argparse.Namespace) -> None:
    """Raises BadUsage for arguments that do not belong to the word."""
    given = bool(args.name) + bool(args.duration)
    if given > MOST[args.what]:
        raise BadUsage(
            f"cannot run modelward alerts {args.what}: {args.duration or args.name} is one argument too much"
        )
    if given < NEEDED[args.what]:
        missing = "a duration, like 4h" if args.name else "the name of an alert, or all"
        raise BadUsage(f"cannot run modelward alerts {args.what}: it needs {missing}")
    if args.why and args.what not in ("mute", "ack"):
        raise BadUsage(f"cannot run modelward alerts {args.what}: --why belongs to mute and ack")
    if args.duration:
        try:
            parse_duration(args.duration)
        except ValueError as e:
            raise BadUsage(f"cannot run modelward alerts mute: {e}") from e


def _list(args: argparse.Namespace) -> int:
    answer = client(args).get("/v1/alerts")
    if args.json:
        print_json(answer)
        return 0
    from ..answers.alerts import AlertsAnswer

    found, colour = answer.read(AlertsAnswer), colours(sys.stdout)
    rows = [_row(alert) for alert in found.alerts]
    nothing = local_text("nothing is alarming")
    print(table(HEADERS, rows, columns=terminal_columns(sys.stdout), colour=colour) if rows else nothing)
    for line in _held(found):
        say(line)
    for channel in found.channels:
        if channel.failures:
            said = f"alerts do not arrive at {clean(channel.channel)}: {clean(channel.because)}"
            print(paint(local_text(said), "red", colour))
    return 0


def _row(alert: AlertReport) -> tuple[str, str, str, str]:
    marks = [label(clean(alert.state))]
    marks += [label("acknowledged")] if alert.acknowledged else []
    marks += [label("held back")] if alert.held else []
    return local(alert.since), ", ".join(marks), label(clean(alert.severity)), clean(alert.message)


def _held(found: AlertsAnswer) -> Iterator[str]:
    """What is not sent now, and why."""
    for mute in found.mutes:
        yield f"{clean(mute.name)} is muted until {local(mute.until)}{_because(mute.because)}"
    for window in found.windows:
        what = ", ".join(map(clean, window.alerts)) or "all alerts"
        passes = "" if window.critical else "; critical ones are sent"
        yield f"{clean(window.because)} until {local(window.until)}: {what} wait{passes}"
    for alert in found.alerts:
        if alert.acknowledged and alert.acknowledged.because:
            yield f"{clean(alert.name)} is acknowledged{_because(alert.acknowledged.because)}"


def _because(text: str) -> str:
    return f": {clean(text)}" if text else ""


def _test(args: argparse.Namespace) -> int:
    answer = decided(args, "/v1/alerts/test", {})
    if answer.status >= 400:
        return refused(args, answer)
    from ..answers.alerts import AlertsTestAnswer

    done = answer.read(AlertsTestAnswer)
    if args.json:
        print_json(answer)
        return 0 if done.success else 1
    rows = [
        (clean(c.channel), label("arrived" if c.delivered else "failed"), clean(c.because) or "-")
        for c in done.channels
    ]
    if rows:
        print(table(CHANNEL_HEADERS, rows, columns=terminal_columns(sys.stdout), colour=colours(sys.stdout)))
    say(clean(done.message), file=sys.stdout if done.success else sys.stderr)
    return 0 if done.success else 1
