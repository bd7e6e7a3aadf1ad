"""`modelward disk`: where the space went, by class and by largest entry, with progress while it is counted."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from ..errors import ModelwardError
from .client import Client
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
    items,
    size,
    table,
    terminal_columns,
)


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
    print("\n\n".join(part for part in (_classes(answer.data), _largest(answer.data), _rest(answer.data)) if part))
    return 0


def _tick(daemon: Client, line: ProgressLine) -> None:
    if not line.in_place:
        return
    try:
        counted = items(daemon.get("/v1/disk", progress=1).data, "classes")
    except ModelwardError:
        return
    if counted:
        last = counted[-1]
        files = last.get("files") if isinstance(last.get("files"), int) else 0
        line.show(f"counting {clean(last.get('class'))}: {files:,} entries, {size(last.get('bytes'))}")


def _classes(data: dict[str, Any]) -> str:
    rows = [
        (clean(c.get("class")), size(c.get("bytes")), clean(c.get("files")), _with_note(c))
        for c in items(data, "classes")
    ]
    return table(
        ("CLASS", "BYTES", "FILES", "PATH"), rows, columns=terminal_columns(sys.stdout), colour=colours(sys.stdout)
    )


def _with_note(c: dict[str, Any]) -> str:
    note = clean(c.get("note"))
    return clean(c.get("path")) + (f" ({note})" if note else "")


def _largest(data: dict[str, Any]) -> str:
    found = [
        (used, f"{clean(c.get('path'))}/{clean(entry.get('path'))}", clean(c.get("class")))
        for c in items(data, "classes")
        for entry in items(c, "largest")
        if isinstance(used := entry.get("bytes"), int) and used > 0
    ]
    found.sort(reverse=True)
    rows = [(size(used), name, path) for used, path, name in found[:10]]
    return table(("LARGEST", "CLASS", "PATH"), rows, columns=terminal_columns(sys.stdout)) if rows else ""


def _rest(data: dict[str, Any]) -> str:
    lines = []
    for disk in items(data, "disks"):
        classes = disk.get("classes")
        names = ", ".join(clean(name) for name in classes) if isinstance(classes, list) else ""
        lines.append(f"free {size(disk.get('free_bytes'))} of {size(disk.get('total_bytes'))}: {names}")
        free, total = disk.get("free_inodes"), disk.get("total_inodes")
        if isinstance(free, int) and isinstance(total, int) and total and free < total // 10:
            lines.append(f"  only {free:,} of {total:,} inodes are free")
    for entry in items(data, "deleted_open"):
        taken = size(entry.get("bytes"))
        lines.append(f"deleted but open: {taken}, {clean(entry.get('path'))}, pid {clean(entry.get('pid'))}")
    return "\n".join(lines)
