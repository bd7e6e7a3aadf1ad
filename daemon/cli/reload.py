"""`modelward reload`: SIGHUP that waits, and shows each change, when it holds, and each mistake that was refused."""

from __future__ import annotations

import argparse
import sys

from ..errors import Refused
from .client import refusal
from .language import local_text, say
from .options import json_option, print_json, socket_option
from .render import clean
from .request_and_wait import decided, granted, refused

_WHEN = {"live": "", "workers replaced": " (workers are replaced)", "daemon restart": " (after a daemon restart)"}


def arguments(parser: argparse.ArgumentParser) -> None:
    """--json, --socket."""
    json_option(parser)
    socket_option(parser)


def run(args: argparse.Namespace) -> int:
    """0 taken up, 1 refused (the old configuration holds on), 3 no daemon."""
    answer = decided(args, "/v1/reload", {})
    if args.json:
        print_json(answer)
        return 0 if granted(answer) else 1
    if answer.status >= 400:
        return refused(args, answer)
    from ..answers.commands import ReloadOutcome

    done = answer.read(ReloadOutcome)
    if not done.success:
        say("\n".join(_refused(refusal(answer), done.mistakes)), file=sys.stderr)
        return Refused.exit_status
    for change in done.changes:
        when = _WHEN.get(change.applies, f" ({clean(change.applies)})")
        print(f"{clean(change.key)}: {clean(change.old)} -> {clean(change.new)}{local_text(when)}")
    say(clean(done.message))
    return 0


def _refused(message: str, mistakes: list[str]) -> list[str]:
    """The daemon's sentence, then each mistake on a line of its own, unless the one there is stands in the sentence."""
    if not mistakes or (len(mistakes) == 1 and mistakes[0] in message):
        return [message]
    return [
        message.replace("; ".join(mistakes), f"{len(mistakes)} mistakes"),
        *(f"  {clean(mistake)}" for mistake in mistakes),
    ]
