"""Finds out quickly, inside the daemon, that a sweep would remove nothing. If it cannot, a full sweep is needed.

It does the same sweep as a dry run, for as long as small directories take. It removes nothing. It returns None when it
did not see everything: too many entries for the time, an entry that would go, or anything in a trash.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Final

from msgspec.structs import replace

from ...system.clock import Clock
from ..fs_port import FileSystemPort
from .directory_visitor import Keep
from .outcome import SweepOutcome
from .reasons import removes
from .remover import Budget
from .sweep import Orders, sweep
from .walk import TRASH

GLANCE_SECONDS: Final = 0.025
"""Processor time, because the same small directories take longer on a busy machine."""
MOST_SECONDS: Final = 2.0
"""The limit in real time, however little processor time was used."""


class _TimeUp(threading.Event):
    """An event that is set after `seconds` of work in its thread, or when `stop` is set."""

    def __init__(self, stop: threading.Event, seconds: float) -> None:
        super().__init__()
        self._stop, self._until = stop, time.thread_time() + seconds

    def is_set(self) -> bool:
        return self._stop.is_set() or time.thread_time() >= self._until


def glance(
    orders: Orders,
    *,
    files: FileSystemPort,
    clock: Clock,
    stop: threading.Event,
    keep: Callable[[str], Keep],
    seconds: float = GLANCE_SECONDS,
) -> SweepOutcome | None:
    """The outcome of a sweep with these orders when nothing has to go; else None."""
    would_go = False

    def report(path: str, used: int, code: int) -> None:
        nonlocal would_go
        would_go = would_go or removes(code)

    dry = replace(orders, dry_run=True, budget=Budget(files=0, bytes=0, seconds=MOST_SECONDS))
    outcome = sweep(dry, files=files, clock=clock, stop=_TimeUp(stop, seconds), keep=keep, report=report)
    trashes = [f"{rule.path}/{TRASH}" for rule in orders.rules if not rule.ours and rule.name not in orders.left_alone]
    if would_go or outcome.more or any(map(_holds_something, trashes)):
        return None
    outcome.dry_run = orders.dry_run
    return outcome


def _holds_something(trash: str) -> bool:
    """Whether the directory holds anything. Also true when that cannot be known."""
    try:
        with os.scandir(trash) as entries:
            return any(True for _ in entries)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
