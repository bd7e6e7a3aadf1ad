"""`modelward sweep`: disk upkeep now. A dry run prints each path, its size and because, and removes nothing."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from ..units import count
from .options import json_option, print_json, socket_option
from .render import clean, items, size
from .request_and_wait import decided, granted


def arguments(parser: argparse.ArgumentParser) -> None:
    """--dry-run, --json, --socket."""
    parser.add_argument("--dry-run", action="store_true", help="say what would go and why; remove nothing")
    json_option(parser)
    socket_option(parser)


def run(args: argparse.Namespace) -> int:
    """0 done, 1 something that had to go could not, 3 no daemon."""
    answer = decided(args, "/v1/sweep", {"dry_run": bool(args.dry_run)})
    trouble = _texts(answer.data.get("trouble"))
    if args.json:
        print_json(answer)
        return 0 if granted(answer) and not trouble else 1
    for entry in items(answer.data, "listed"):
        print(f"{size(entry.get('bytes')):>10}  {clean(entry.get('path'))}: {clean(entry.get('because'))}")
    for line in _summary(answer.data):
        print(line)
    for sentence in trouble:
        print(sentence, file=sys.stderr)
    return 0 if granted(answer) and not trouble else 1


def _summary(data: dict[str, Any]) -> list[str]:
    verb = "would remove" if data.get("dry_run") else "removed"
    lines = []
    for c in items(data, "classes"):
        name, note = clean(c.get("class")), clean(c.get("refused")) or clean(c.get("note"))
        if note:
            lines.append(f"{name}: {note}")
        for what, entries in ((verb, items(c, "removed")), ("spared", items(c, "spared"))):
            lines += [
                f"{name}: {what} {clean(e.get('files'))} ({size(e.get('bytes'))}): {clean(e.get('because'))}"
                for e in entries
            ]
    removed = data.get("removed")
    if isinstance(removed, dict):
        lines.append(f"{verb} {_files(removed.get('files'))}, {size(removed.get('bytes'))}")
    if data.get("more"):
        lines.append("more is due: the budget of one sweep was used up")
    return lines


def _files(number: object) -> str:
    return count(number, "file") if isinstance(number, int) else "- files"


def _texts(value: object) -> list[str]:
    return [clean(text) for text in value] if isinstance(value, list) else []
