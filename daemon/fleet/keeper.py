"""The keeper of a fleet: reads all reports, takes the next step of the rollout, and keeps it. One acts at a time.

`waves` decides. Time is that of the engine, so that a keeper with a wrong clock opens nothing early. Invariant: a step
is kept only over the progress that it was made from; what another keeper kept meanwhile stands.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from .engine import FeedbackEngine
from .record import FleetRecord
from .reports import ReceivedReport
from .waves import WaveCount, WaveStep, census, next_step

LEASE_SECONDS: Final = 150.0


class KeeperView(Struct, frozen=True):
    """What the last step was made of. `changed`: it is another one than was kept before."""

    step: WaveStep
    counts: tuple[WaveCount, ...]
    reports: tuple[ReceivedReport, ...]
    at: float
    changed: bool


class Keeper:
    """See the module. `holder` is the name of this machine."""

    def __init__(self, engine: FeedbackEngine, holder: str) -> None:
        self._engine, self._holder = engine, holder

    async def step(self, record: FleetRecord) -> KeeperView | None:
        """One step; None where another keeper acts. Raises EngineAway."""
        lease = await self._engine.lease(self._holder, LEASE_SECONDS)
        if lease is None:
            return None
        kept = await self._engine.kept_progress()
        if kept.progress.sequence > record.sequence:
            return None  # another keeper has a newer record already
        reports = tuple(await self._engine.reports())
        step = next_step(record, kept.progress, reports, lease.at)
        changed = step.progress != kept.progress
        if changed and not await self._engine.keep_progress(step.progress, kept.revision):
            return None
        return KeeperView(step, tuple(census(record, step.progress, reports, lease.at)), reports, lease.at, changed)
