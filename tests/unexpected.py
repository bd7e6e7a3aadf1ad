"""Exceptions that nobody expects, of several types: what a part of the daemon may raise by a fault of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Mute(Exception):
    """Its text cannot be had."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


UNEXPECTED: tuple[Callable[[], BaseException], ...] = (
    lambda: RuntimeError("something\nin two lines"),
    MemoryError,
    lambda: KeyError("a key"),
    AssertionError,
    lambda: RecursionError("too deep"),
    lambda: SystemExit(3),
    KeyboardInterrupt,
    asyncio.CancelledError,
    Mute,
)
