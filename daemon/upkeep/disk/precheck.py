"""Finds out, quickly and in the daemon itself, that a sweep would remove nothing; where it can't, a sweep has to look.

The very sweep, dry, for as long as small directories take. Removes nothing, and never says "nothing to do" of what it
did not see whole: more entries than there is time for, anything that would go, anything in a trash, all mean None.
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
"""Of processor time: on a busy machine the same small directories take longer."""
MOST_SECONDS: Final = 2.0
"""However little of them was processor time."""


class _TimeUp(threading.Event):
    """Set, as far as its thread can see, after `seconds` of work there, or when `stop` is."""

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
    """What a sweep by these orders would say, when there is nothing for it to do; else None."""
    would_go = False

    def report(path: str, used: int, code: int) -> None:
        nonlocal would_go
        would_go = would_go or removes(code)

    dry = replace(orders, dry_run=True, budget=Budget(files=0, bytes=0, seconds=MOST_SECONDS))
    outcome = sweep(dry, files=files, clock=clock, stop=_TimeUp(stop, seconds), keep=keep, report=report)
    trashes = [f"{rule.path}/{TRASH}" for rule in orders.rules if not rule.ours]
    if would_go or outcome.more or any(map(_holds_something, trashes)):
        return None
    outcome.dry_run = orders.dry_run
    return outcome


def _holds_something(trash: str) -> bool:
    """Whether anything lies there, or nobody can tell."""
    try:
        with os.scandir(trash) as entries:
            return any(True for _ in entries)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
