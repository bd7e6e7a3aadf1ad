"""Ends the daemon's parts, each within its own limit.

What is not done in its time is left behind; what fails is logged and tried once more; the rest ends all the same. The
order is given by the caller. Invariant: `together` returns within the longest limit of its steps, and raises nothing of
theirs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

import structlog
from msgspec import Struct

from ..system.background import Background

ATTEMPTS: Final = 2


class Step(Struct, frozen=True):
    """`act` ends one part, and gets so many `seconds` for it."""

    name: str
    act: Callable[[], Coroutine[Any, Any, None]]
    seconds: float


async def together(background: Background, *steps: Step) -> None:
    """Takes these steps at the same time."""
    await asyncio.gather(*(_take(background, step) for step in steps))


async def _take(background: Background, step: Step) -> None:
    name, loop = f"{step.name}.stop", asyncio.get_running_loop()
    deadline = loop.time() + step.seconds
    for _ in range(ATTEMPTS):
        task = background.start(name, step.act)
        await asyncio.wait({task}, timeout=max(0.0, deadline - loop.time()))
        if not task.done():
            task.cancel()
            said, because = "cannot end a part of the daemon; it is left behind", f"no end within {step.seconds:g} s"
            structlog.get_logger("supervisor").error(said, controller=step.name, because=because)
            return
        if not background.failures.failing(name):
            return
