"""What tests of rollouts share: policies, and a rollout under way."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from tests.daemon.workers.room import Room
from tests.support import PATIENCE_SECONDS, soon

from modelward.daemon.workers.rollout_executor import Rollout
from modelward.daemon.workers.rollout_planner import RolloutPolicy

QUICK = RolloutPolicy(canary=1, bake_seconds=0.0, reload_timeout_seconds=PATIENCE_SECONDS)
BAKED = RolloutPolicy(canary=1, bake_seconds=0.6, reload_timeout_seconds=PATIENCE_SECONDS)
LONG = RolloutPolicy(canary=1, bake_seconds=3600, reload_timeout_seconds=PATIENCE_SECONDS)
IMPATIENT = RolloutPolicy(canary=1, bake_seconds=0.0, reload_timeout_seconds=0.5)
V1, V2 = "v1", "v2"


def run(work: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(work(), PATIENCE_SECONDS))  # type: ignore[arg-type]


def steps(rollout: Rollout) -> list[str]:
    return [step.step for step in rollout.steps]


def under_way(it: Room, rollout: Rollout, policy: RolloutPolicy) -> asyncio.Task[Rollout]:
    return asyncio.get_running_loop().create_task(it.executor.run(rollout, policy))


def moved(it: Room, version: str = V2) -> list[str]:
    return [name for name, serving in it.serving().items() if serving == version]


async def canary(it: Room) -> str:
    """The name of the first worker moved, once it is."""
    await soon(lambda: moved(it))
    return moved(it)[0]
