"""`modelward reload`: SIGHUP that waits, and shows each change, when it holds, and each mistake that was refused."""

from __future__ import annotations

import argparse
import sys

from ..errors import Refused
from .client import ApiAnswer, refusal
from .options import json_option, print_json, socket_option
from .render import clean, items
from .request_and_wait import decided, granted

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
    if not granted(answer):
        print("\n".join(_refused(refusal(answer), _mistakes(answer))), file=sys.stderr)
        return Refused.exit_status
    for change in items(answer.data, "changes"):
        print(_sentence(change))
    print(clean(answer.data.get("message")) or "done")
    return 0


def _refused(message: str, mistakes: list[str]) -> list[str]:
    """The daemon's sentence, then each mistake on a line of its own, unless the one there is stands in the sentence."""
    if not mistakes or (len(mistakes) == 1 and mistakes[0] in message):
        return [message]
    return [
        message.replace("; ".join(mistakes), f"{len(mistakes)} mistakes"),
        *(f"  {mistake}" for mistake in mistakes),
    ]


def _mistakes(answer: ApiAnswer) -> list[str]:
    mistakes = answer.data.get("mistakes")
    return [clean(mistake) for mistake in mistakes] if isinstance(mistakes, list) else []


def _sentence(change: dict[str, object]) -> str:
    applies = clean(change.get("applies"))
    when = _WHEN.get(applies, f" ({applies})" if applies else "")
    return f"{clean(change.get('key'))}: {clean(change.get('old'))} -> {clean(change.get('new'))}{when}"
