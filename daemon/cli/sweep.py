"""`modelward sweep`: disk upkeep now. A dry run prints each path, its size and because, and removes nothing."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from ..units import count, size
from .disk import class_label
from .language import label, local_text, say
from .options import json_option, print_json, socket_option
from .render import clean
from .request_and_wait import decided, granted, refused

if TYPE_CHECKING:
    from ..answers.disk import SweepAnswer


def arguments(parser: argparse.ArgumentParser) -> None:
    """--dry-run, --json, --socket."""
    parser.add_argument("--dry-run", action="store_true", help="say what would go and why; remove nothing")
    json_option(parser)
    socket_option(parser)


def run(args: argparse.Namespace) -> int:
    """0 done, 1 something that had to go could not, 3 no daemon."""
    answer = decided(args, "/v1/sweep", {"dry_run": bool(args.dry_run)})
    if not granted(answer):
        return refused(args, answer)
    from ..answers.disk import SweepAnswer

    done = answer.read(SweepAnswer)
    if args.json:
        print_json(answer)
        return 1 if done.trouble else 0
    for entry in done.listed or ():
        print(f"{size(entry.bytes):>10}  {clean(entry.path)}: {local_text(clean(entry.because))}")
    for line in _summary(done):
        print(line)
    for sentence in done.trouble:
        say(clean(sentence), file=sys.stderr)
    return 1 if done.trouble else 0


def _files(number: int) -> str:
    figure, _, noun = count(number, "file").partition(" ")
    return f"{figure} {label(noun)}"


def _summary(done: SweepAnswer) -> list[str]:
    verb = label("would remove" if done.dry_run else "removed")
    lines = []
    for c in done.classes:
        if note := c.refused or c.note:
            lines.append(f"{class_label(c.name)}: {local_text(clean(note))}")
        for what, reasons in ((verb, c.removed), (label("spared"), c.spared)):
            lines += [
                f"{class_label(c.name)}: {what} {r.files} ({size(r.bytes)}): {local_text(clean(r.because))}"
                for r in reasons
            ]
    lines.append(f"{verb} {_files(done.removed.files)}, {size(done.removed.bytes)}")
    if done.more:
        lines.append(local_text("more is due: the budget of one sweep was used up"))
    return lines
