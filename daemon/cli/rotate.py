"""`modelward rotate`: log rotation now; of everything that is due, or of one file."""

from __future__ import annotations

import argparse
import sys

from .options import json_option, print_json, socket_option
from .render import clean, items, size
from .request_and_wait import decided, granted


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
    trouble = answer.data.get("trouble")
    sentences = [clean(text) for text in trouble] if isinstance(trouble, list) else []
    good = granted(answer) and not sentences
    if args.json:
        print_json(answer)
        return 0 if good else 1
    would = "would be " if args.dry_run else ""
    for step in items(answer.data, "steps"):
        action, archive = clean(step.get("action")), clean(step.get("archive"))
        if action == "spared":
            print(f"{clean(step.get('path'))}: left, {clean(step.get('because'))}")
            continue
        to = f" to {archive}" if archive else ""
        how_much = f", {size(step.get('bytes'))}" if step.get("bytes") else ""
        print(f"{clean(step.get('path'))}: {would}{action}{to}{how_much}: {clean(step.get('because'))}")
    for sentence in sentences:
        print(sentence, file=sys.stderr)
    return 0 if good else 1
