"""What every verb that wants something changed has in common: ask, show progress, say how it ended."""

from __future__ import annotations

import argparse

from ..errors import Refused
from .client import ApiAnswer, RefusedAnswer, refusal
from .options import client, print_json
from .progress import Progress
from .render import clean


def ask(args: argparse.Namespace, path: str, body: dict[str, object]) -> int:
    """POSTs a request, waits until it is decided and prints the daemon's sentence; 0 granted, 1 not."""
    answer = decided(args, path, body)
    if args.json:
        print_json(answer)
        return 0 if granted(answer) else 1
    if not granted(answer):
        raise Refused(refusal(answer))
    print(clean(answer.data.get("message")) or "done")
    return 0


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
