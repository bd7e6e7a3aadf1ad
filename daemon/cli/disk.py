"""`modelward disk`: where the space went, by class and by largest entry, with progress while it is counted."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from ..errors import ModelwardError
from ..units import size
from .client import Client
from .language import label, local_text
from .options import (
    client,
    json_option,
    print_json,
    socket_option,
)
from .progress import ProgressLine
from .render import (
    clean,
    colours,
    table,
    terminal_columns,
)

if TYPE_CHECKING:
    from ..answers.disk import DiskAnswer


def arguments(parser: argparse.ArgumentParser) -> None:
    """--json, --socket."""
    json_option(parser)
    socket_option(parser)


def run(args: argparse.Namespace) -> int:
    """0 shown, 3 no daemon."""
    daemon = client(args)
    line = ProgressLine(sys.stderr)
    try:
        answer = daemon.get_and_wait("/v1/disk", lambda: _tick(daemon, line))
    finally:
        line.end()
    if args.json:
        print_json(answer)
        return 0
    from ..answers.disk import DiskAnswer

    found = answer.read(DiskAnswer)
    print("\n\n".join(part for part in (_classes(found), _largest(found), _rest(found)) if part))
    return 0


def class_label(name: str) -> str:
    """A class as people read it: the built-in ones in their language, the operator's by their names."""
    from ..answers.disk import CLASS_WORDS

    return label(name) if name in CLASS_WORDS else clean(name)


def _tick(daemon: Client, line: ProgressLine) -> None:
    if not line.in_place:
        return
    from ..answers.disk import DiskProgressAnswer

    try:
        counted = daemon.get("/v1/disk", progress=1).read(DiskProgressAnswer).classes
    except ModelwardError:
        return
    if counted:
        last = counted[-1]
        line.show(local_text(f"counting {class_label(last.name)}: {last.files:,} entries, {size(last.bytes)}"))


def _classes(found: DiskAnswer) -> str:
    rows = [
        (
            class_label(c.name),
            size(c.bytes),
            str(c.files),
            clean(c.path) + (f" ({local_text(clean(c.note))})" if c.note else ""),
        )
        for c in found.classes
    ]
    return table(
        ("CLASS", "BYTES", "FILES", "PATH"), rows, columns=terminal_columns(sys.stdout), colour=colours(sys.stdout)
    )


def _largest(found: DiskAnswer) -> str:
    entries = [(e.bytes, f"{c.path}/{e.path}", c.name) for c in found.classes for e in c.largest if e.bytes > 0]
    rows = [(size(used), class_label(name), path) for used, path, name in sorted(entries, reverse=True)[:10]]
    return table(("LARGEST", "CLASS", "PATH"), rows, columns=terminal_columns(sys.stdout)) if rows else ""


def _rest(found: DiskAnswer) -> str:
    lines = []
    for disk in found.disks:
        names = ", ".join(class_label(name) for name in disk.classes)
        lines.append(f"free {size(disk.free_bytes)} of {size(disk.total_bytes)}: {names}")
        if disk.free_inodes < disk.total_inodes // 10:
            lines.append(f"  only {disk.free_inodes:,} of {disk.total_inodes:,} inodes are free")
    for entry in found.deleted_open:
        lines.append(f"deleted but open: {size(entry.bytes)}, {clean(entry.path)}, pid {entry.pid}")
    return "\n".join(local_text(line) for line in lines)
