"""`modelward rotate`: log rotation now; of everything that is due, or of one file."""

from __future__ import annotations

import argparse
import sys

from ..units import size
from .language import label, local_text, say
from .options import json_option, print_json, socket_option
from .render import clean
from .request_and_wait import decided, granted, refused


def arguments(parser: argparse.ArgumentParser) -> None:
    """FILE, --dry-run, --force, --json, --socket."""
    parser.add_argument("file", metavar="FILE", nargs="?", default="", help="one log, by name or path (default all)")
    parser.add_argument("--dry-run", action="store_true", help="say what would be rotated and dropped, and why")
    parser.add_argument("--force", action="store_true", help="rotate what is not due yet, unless it is empty")
    json_option(parser)
    socket_option(parser)


def run(args: argparse.Namespace) -> int:
    """0 done (nothing due is done), 1 something could not be rotated, 3 no daemon."""
    body: dict[str, object] = {"dry_run": bool(args.dry_run), "force": bool(args.force), "file": args.file}
    answer = decided(args, "/v1/rotate", body)
    if not granted(answer):
        return refused(args, answer)
    from ..answers.logs import RotateAnswer

    done = answer.read(RotateAnswer)
    if args.json:
        print_json(answer)
        return 1 if done.trouble else 0
    would = label("would be") + " " if done.dry_run else ""
    for step in done.steps:
        if step.action == "spared":
            print(f"{clean(step.path)}: {label('left')}, {local_text(clean(step.because))}")
            continue
        to = f" {label('to')} {clean(step.archive)}" if step.archive else ""
        how_much = f", {size(step.bytes)}" if step.bytes else ""
        print(
            f"{clean(step.path)}: {would}{label(clean(step.action))}{to}{how_much}: {local_text(clean(step.because))}"
        )
    for sentence in done.trouble:
        say(clean(sentence), file=sys.stderr)
    return 1 if done.trouble else 0
