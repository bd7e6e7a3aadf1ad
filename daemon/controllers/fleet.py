"""Follows a fleet's record where one is configured; without one nothing of it is imported.

It makes the agent for the configuration in force, repeats its step, and gives its state to alerts, metrics and the API.
Invariant: what a fleet needs and is not installed, or not in order, is an alert and stops nothing else.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Final

import structlog

from ...worker.shared.prometheus_text import Exposition
from ..answers.fleet import FleetAnswer
from ..config.load import Config
from ..config.schema_fleet import FleetSection
from ..errors import Refused
from ..health.alerts import Figure
from ..names import FLEET_PART
from ..state.async_store import AsyncStore
from ..system.background import here
from ..system.clock import Clock
from .activation import Activation
from .repeated_step import RepeatedStep
from .validation import Validation
from .wakeups import Wakeups

if TYPE_CHECKING:
    from .fleet_agent import FleetAgent

FLEET: Final = "fleet"

WAKE_SPREAD_SECONDS: Final = 2.0
"""Machines that are woken at once spread what they read over such a time."""
_REASON_CHARS: Final = 500
_STANDINGS: Final = ("serving", "failed", "pending", "blocked", "silent", "late")
_OUTCOMES: Final = ("waiting", "fetching", "judging", "serving", "failed", "blocked", "drifted")


class Fleet(RepeatedStep):
    """See the module. `rename` renames by descriptors and never over anything."""

    name = FLEET

    def __init__(
        self,
        config: Callable[[], Config],
        clock: Clock,
        *,
        validation: Validation,
        activation: Activation,
        async_store: AsyncStore,
        wakeups: Wakeups,
        rename: Callable[..., None],
    ) -> None:
        super().__init__()
        self._config, self._clock, self._validation, self._activation = config, clock, validation, activation
        self._async_store, self._wakeups, self._rename = async_store, wakeups, rename
        self._log = structlog.get_logger(FLEET)
        self._agent: FleetAgent | None = None
        self._watch: asyncio.Task[None] | None = None
        self._made_for: FleetSection | None = None
        self._problem = ""

    async def step(self) -> float | None:
        """One step of the agent; None without a fleet."""
        wanted = self._config().fleet
        if wanted != self._made_for:
            await self._end()
            self._made_for = wanted
            if wanted.url:
                await self._make(wanted)
            else:
                await asyncio.to_thread(self._remove_part)
        if self._agent is None:
            return None
        seconds = await self._agent.step()
        self.worked()
        return seconds

    def _remove_part(self) -> None:
        """What was fetched before the fleet was switched off takes no room."""
        root = self._config().models.root
        if not os.path.lexists(root / FLEET_PART):
            return
        from ..fleet.part_area import PartArea

        try:
            PartArea(root, self._rename).discard()
        except OSError as e:
            self._log.warning("fleet part not removed", path=str(root / FLEET_PART), because=e.strerror or str(e))

    async def _make(self, wanted: FleetSection) -> None:
        from ..fleet.engines import engine
        from ..fleet.machine_name import machine_name
        from ..fleet.membership import FleetMachine
        from .fleet_agent import FleetAgent
        from .fleet_local import FleetAccess

        name = await asyncio.to_thread(machine_name, wanted.name)
        try:
            found = engine(
                wanted.url, name=name, credentials=wanted.credentials, ca_file=wanted.ca_file, clock=self._clock
            )
        except Refused as e:
            self._problem = str(e)
            self._log.error("fleet not followed", because=self._problem)
            return
        access = FleetAccess(
            self._config, self._clock, self._validation, self._activation, self._async_store, self._wakeups,
            self._rename,
        )  # fmt: skip
        self._agent = FleetAgent(access, found, FleetMachine(name, tuple(wanted.labels)), happened=self.check)
        self._watch = here().start("fleet watch", partial(self._wake, self._agent), restart=True)

    async def _wake(self, agent: FleetAgent) -> None:
        from ..fleet.agent_planner import hash_of

        number = 0
        while True:
            await agent.wake()
            number += 1
            await asyncio.sleep(WAKE_SPREAD_SECONDS * (hash_of(agent.machine.name, number) % 1000) / 1000)
            self.check()

    async def _end(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
        agent, self._agent, self._watch, self._problem = self._agent, None, None, ""
        if agent is not None:
            await agent.stop()

    async def stop(self) -> None:
        await super().stop()
        await self._end()

    # for people

    def answer(self) -> FleetAnswer:
        """What `GET /v1/fleet` answers."""
        if self._agent is not None:
            return self._agent.answer()
        url = self._config().fleet.url
        return FleetAnswer(url, outcome="blocked" if url else "", because=self._problem, away=self._problem)

    def figures(self) -> list[Figure]:
        """The alerts: a server that is away for too long, a version that this machine cannot take, and a halt."""
        fleet = self._config().fleet
        if not fleet.url:
            return []
        if self._problem:
            return [Figure("fleet_blocked", 1.0, "", self._problem)]
        agent = self._agent
        if agent is None:
            return []
        step, found = agent.step_taken, list[Figure]()
        if agent.away_seconds >= fleet.alert_after:
            found.append(Figure("fleet_away", 1.0, "", agent.away[:_REASON_CHARS]))
        blocked = step.because if step is not None and step.outcome == "blocked" else ""
        if because := agent.refused or blocked or agent.not_keeper:
            found.append(Figure("fleet_blocked", 1.0, "", because[:_REASON_CHARS]))
        if agent.kept is not None and agent.kept.step.progress.halted:
            found.append(Figure("fleet_halted", 1.0, "", agent.kept.step.because[:_REASON_CHARS]))
        return found

    def next_due(self) -> float | None:
        """When an alert about a server that is away is due, monotonic seconds."""
        agent = self._agent
        if agent is None or not agent.away_seconds:
            return None
        remaining = self._config().fleet.alert_after - agent.away_seconds
        return self._clock.monotonic() + remaining if 0 < remaining < inf else None

    def expose(self, out: Exposition) -> None:
        """The metrics; none without a fleet."""
        agent = self._agent
        if agent is None:
            return
        answer = agent.answer()
        out.add("modelward_fleet_connected", float(not answer.away))
        out.add("modelward_fleet_record_sequence", answer.record.sequence if answer.record else 0)
        out.add("modelward_fleet_fetched_bytes", answer.fetched_bytes)
        for outcome in _OUTCOMES:
            out.add("modelward_fleet_outcome", float(answer.outcome == outcome), outcome=outcome)
        if answer.rollout is None:
            return
        out.add("modelward_fleet_halted", float(answer.rollout.state == "halt"))
        for wave in answer.rollout.waves:
            out.add("modelward_fleet_wave_open", float(wave.open), wave=str(wave.wave))
            for standing in _STANDINGS:
                value = float(getattr(wave, standing))
                out.add("modelward_fleet_machines", value, wave=str(wave.wave), standing=standing)
