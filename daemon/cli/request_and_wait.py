"""What all verbs that change something share: they send a request, show progress, and print the result."""

from __future__ import annotations

import argparse

from ..errors import Refused
from .client import ApiAnswer, RefusedAnswer, refusal
from .language import say
from .options import client, print_json
from .progress import Progress
from .render import clean


def ask(args: argparse.Namespace, path: str, body: dict[str, object]) -> int:
    """POSTs a request, waits until it is decided and prints the daemon's sentence; 0 granted, 1 not."""
    answer = decided(args, path, body)
    if not granted(answer):
        return refused(args, answer)
    if args.json:
        print_json(answer)
    else:
        from ..answers.commands import CommandOutcome

        say(clean(answer.read(CommandOutcome).message))
    return 0


def refused(args: argparse.Namespace, answer: ApiAnswer) -> int:
    """Ends a request that was not granted: prints its JSON where that is asked for, else raises Refused."""
    if not args.json:
        raise Refused(refusal(answer))
    print_json(answer)
    return Refused.exit_status


def decided(args: argparse.Namespace, path: str, body: dict[str, object]) -> ApiAnswer:
    """The answer to a request once it is decided, a refusal included, with progress until then."""
    daemon = client(args)
    progress = Progress(daemon)
    try:
        return daemon.post_and_wait(path, body, progress.tick)
    except RefusedAnswer as e:
        return e.answer
    finally:
        progress.end()


def granted(answer: ApiAnswer) -> bool:
    """Whether the daemon did it."""
    return answer.status < 400 and answer.data.get("success") is not False
