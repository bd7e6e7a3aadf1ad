"""Starts threads, and tasks whose result the caller awaits; for the worker and the daemon.

It decides nothing. Tasks whose result is not awaited are started by the background module of each program, which loses
no exception.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
Thread = threading.Thread
"""The type; `start_thread` makes them."""


def awaited(work: Coroutine[Any, Any, T], name: str = "") -> asyncio.Task[T]:
    """A task whose result or exception the caller awaits."""
    return asyncio.get_running_loop().create_task(work, name=name or None)


def start_thread(name: str, work: Callable[[], None]) -> Thread:
    """A thread that does not delay the end of the process. Raises RuntimeError when the system has none to give."""
    thread = Thread(target=work, daemon=True, name=name)
    thread.start()
    return thread
