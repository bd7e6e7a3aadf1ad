"""The version that an agent fetches: one fetch or check of digests at a time, in the background.

The agent's planner decides when. Invariant: what fails is noted with its reason and with when it may be tried again,
and the hidden directory is used by one task at a time.
"""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Final

import structlog
from msgspec import Struct

from ..config.load import Config
from ..fleet.agent_planner import FetchedPart, retry_delay, wrong_delay
from ..fleet.engine import EngineAway, RecordEngine
from ..fleet.engines import web_engine
from ..fleet.fetching import Fetching, WrongBytes
from ..fleet.part_area import PartArea
from ..fleet.record import FleetRecord
from ..names import FLEET_PART
from ..system.background import here
from ..system.clock import Clock
from ..system.disk_room import Reserve, disk_room

_STOP_SECONDS: Final = 5.0


class PartFacts(Struct, frozen=True):
    """What the planner needs; see `agent_planner.AgentFacts`."""

    part: FetchedPart | None
    free_bytes: int
    keep_free_bytes: int
    trouble: str
    retry_at: float


class FleetPart:
    """See the module. `turn` rises with each beginning and each end of a task."""

    def __init__(
        self,
        config: Callable[[], Config],
        clock: Clock,
        engine: RecordEngine,
        machine: str,
        rename: Callable[..., None],
        happened: Callable[[], None],
    ) -> None:
        self._config, self._clock, self._engine, self._machine = config, clock, engine, machine
        self._web = web_engine(engine, config().fleet.ca_file, clock)
        self._rename, self._happened = rename, happened
        self._log = structlog.get_logger("fleet")
        self._task: asyncio.Task[None] | None = None
        self._fetching: Fetching | None = None
        self._end = threading.Event()
        self._failures, self._retry_at, self._trouble = 0, 0.0, ""
        self._part: FetchedPart | None = None
        self.turn = self.free_bytes = 0

    @property
    def bytes(self) -> int:
        """How much is there."""
        if self._fetching is not None:
            return self._fetching.bytes
        return self._part.bytes if self._part is not None else 0

    async def facts(self) -> PartFacts:
        """As it is now."""
        root, min_free = self._config().models.root, self._config().disk.min_free

        try:
            self.free_bytes, keep = await asyncio.to_thread(disk_room, root, min_free.of)
            if self._task is None:
                self._part = await asyncio.to_thread(self._area().seen)
        except OSError as e:
            self._failed(e.strerror or str(e))
            return PartFacts(self._part, 0, 0, self._trouble, self._retry_wall())
        part = self._part
        if (fetching := self._fetching) is not None:
            part = FetchedPart(fetching.record.manifest_sha256, fetching.record.sequence, fetching.bytes)
        return PartFacts(part, self.free_bytes, keep, self._trouble, self._retry_wall())

    def _retry_wall(self) -> float:
        """By the clock as it is now: it may have been set since."""
        return self._clock.wall() + self._retry_at - self._clock.monotonic()

    def _area(self) -> PartArea:
        return PartArea(self._config().models.root, self._rename)

    def fetch(self, record: FleetRecord) -> None:
        """Begins to fetch, unless something is under way."""
        if self._task is None:
            self._fetching = Fetching(
                self._engine,
                self._area(),
                record,
                self._clock,
                web=self._web,
                max_rate=self._config().fleet.max_rate,
                require_room=partial(_require_room, self._config().models.root, self._config().disk.min_free.of),
            )
            self._begin(self._fetching.run)

    def verify(self, record: FleetRecord) -> None:
        """Begins to compare digests, unless something is under way."""
        if self._task is None:
            self._begin(partial(self._verified, record))

    async def _verified(self, record: FleetRecord) -> None:
        part = await asyncio.to_thread(self._area().verify, record.bytes, self._end.is_set)
        if not part.verified and not self._end.is_set():
            raise WrongBytes(f"files have other bytes than {record.version} was signed with")

    def _begin(self, work: Callable[[], Awaitable[object]]) -> None:
        self._end.clear()
        self.turn += 1
        self._task = here().start("fleet fetch", partial(self._run, work))
        self._task.add_done_callback(self._over)

    async def _run(self, work: Callable[[], Awaitable[object]]) -> None:
        try:
            await work()
            self._failures, self._trouble = 0, ""
        except EngineAway as e:
            self._failed(str(e))
        except WrongBytes as e:
            self._failed(str(e), wrong_delay)
        except OSError as e:
            self._failed(e.strerror or str(e))
        except Exception as e:
            self._failed(f"{type(e).__name__}: {e}")
            raise

    def _failed(self, because: str, delay: Callable[[str, int], float] = retry_delay) -> None:
        self._failures += 1
        self._retry_at = self._clock.monotonic() + delay(self._machine, self._failures)
        if because != self._trouble:
            self._log.warning("fleet fetch failed", because=because)
        self._trouble = because

    def forget_trouble(self) -> None:
        """Another record may be fetched at once, whatever happened to the one before."""
        self._failures, self._trouble = 0, ""

    def _over(self, task: asyncio.Task[None]) -> None:
        self._task = self._fetching = None
        self.turn += 1
        self._happened()

    async def stop(self) -> None:
        """Ends what is under way; what came stays."""
        if self._task is not None:
            self._end.set()
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=_STOP_SECONDS)

    async def discard(self) -> bool:
        """Removes what was fetched; False when it cannot."""
        return await self._on_thread(self._area().discard, FLEET_PART)

    async def rename_in(self, version: str) -> bool:
        """Puts the version into the model root; False when it cannot."""
        return await self._on_thread(partial(self._area().rename_in, version), version)

    async def _on_thread(self, work: Callable[[], None], about: str) -> bool:
        try:
            await asyncio.to_thread(work)
        except OSError as e:
            self._failed(f"{about}: {e.strerror or e}")
            return False
        self._failures, self._trouble = 0, ""
        self.turn += 1
        return True


def _require_room(root: Path, reserve: Reserve, wanted_bytes: int) -> None:
    """Raises OSError where the disk has no room for so much more."""
    if wanted_bytes > disk_room(root, reserve).bytes:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
