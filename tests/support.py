"""What many tests need: waiting for a condition without sleeping blindly.

Every wait of the tests has one limit, `PATIENCE_SECONDS`. Only a hang reaches it: no promise is about this time, and a
slow or busy machine stays far below it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import psutil

T = TypeVar("T")

PATIENCE_SECONDS = 300.0
"""After this long a wait counts as a hang. pytest's own `timeout` (pyproject.toml) is longer."""


def open_paths(pid: int) -> list[str]:
    """What the descriptors of a process lead to, as the kernel names it; one that is closed meanwhile is left out."""
    found = []
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.append(os.readlink(descriptor))
    return found


def eventually(condition: Callable[[], T], seconds: float = PATIENCE_SECONDS) -> T:
    """The first true answer of `condition`; fails the test when none comes within `seconds`."""
    deadline, pause = time.monotonic() + seconds, 0.005
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {condition}; last answer {answer!r}")
        time.sleep(pause)
        pause = min(0.1, pause * 1.25)  # what takes long is asked for less often


async def soon(condition: Callable[[], T], seconds: float = PATIENCE_SECONDS) -> T:
    """As `eventually`, on the event loop, which goes on meanwhile."""
    deadline, pause = time.monotonic() + seconds, 0.005
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {condition}; last answer {answer!r}")
        await asyncio.sleep(pause)
        pause = min(0.05, pause * 1.25)


@contextlib.contextmanager
def ended_after(process: subprocess.Popen[Any]) -> Iterator[subprocess.Popen[Any]]:
    """The process for as long as the block runs: it is dead afterwards, also when the block fails.

    Popen's own `with` waits for it without a limit, and a failed test never came to what ends it.
    """
    with process:
        try:
            yield process
        finally:
            process.kill()


def modules(*first: str | Path) -> str:
    """PYTHONPATH of a program under test: first `first`, then where these tests find modules."""
    return os.pathsep.join(map(os.path.abspath, (*first, *filter(None, sys.path))))


def children() -> set[int]:
    """This process's children, those that ended and were not waited for included."""
    return {child.pid for child in psutil.Process().children()}
