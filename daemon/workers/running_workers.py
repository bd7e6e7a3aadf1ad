"""Finds the workers that run for a worker socket, by their command lines.

A daemon that is killed between the start of a worker and its record leaves an unknown process, which holds the
listening address and never ends. Only processes of this daemon's user count, because another user could fake one. It
reads /proc and must not be called on the event loop.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

from ..system.processes import Identity, identity

MAX_COMMAND_BYTES = 1 << 20


def running_workers(worker_socket: str, proc: Path = Path("/proc")) -> Iterator[tuple[str, Identity]]:
    """Name and identity of each."""
    for entry in proc.iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if entry.stat().st_uid != os.geteuid():
                continue
            with open(entry / "cmdline", "rb") as file:
                name = worker_name(file.read(MAX_COMMAND_BYTES), worker_socket)
        except OSError:  # it has ended
            continue
        found = identity(int(entry.name)) if name else None
        if name and found is not None:
            yield name, found


def worker_name(command: bytes, worker_socket: str) -> str:
    """The name of the worker with that command line (arguments that end with NUL); "" for any other process."""
    *program, option, settings = ["", "", *command.decode(errors="replace").removesuffix("\0").split("\0")]
    if option != "--settings" or "modelward.worker" not in program:
        return ""
    try:
        given = json.loads(settings)
        return str(given["name"]) if given["worker_socket"] == worker_socket else ""
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
