"""The state of the daemon at one moment: frozen, taken whenever it is to be read.

Each part gives its share. Nothing is read from the disk here, and a snapshot does not change afterwards. Invariant:
alert inputs, metrics, the views of workers and link, and the idle check read only a snapshot.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from typing import TypeVar

from msgspec import Struct, field

from ..answers.disk import SweepAnswer
from ..config.load import Config
from ..jobs.jobs_seen import JobsSeen
from ..models.catalog import CatalogEntry
from ..models.snapshot import Names, RootSeen, Sight
from ..workers.peer import WorkerPeer
from ..workers.pool import WorkerProcess
from ..workers.pool_planner import PendingStart
from ..workers.rollout_executor import Rollout
from .serving_state import Position

T = TypeVar("T")


class VersionsSeen(Struct, frozen=True):
    """The model root and what is known of its versions.

    `busy`: one is being judged, and has made no progress for `still_seconds`. `unjudged` and `misplaced` have reasons
    by name of the version and by path of the link.
    """

    sight: Sight
    entries: tuple[CatalogEntry, ...] = ()
    busy: bool = False
    still_seconds: float = 0.0
    unjudged: Mapping[str, str] = field(default_factory=dict)
    misplaced: Mapping[str, str] = field(default_factory=dict)

    def get(self, name: str) -> CatalogEntry | None:
        return next((entry for entry in self.entries if entry.name == name), None)

    @property
    def linked(self) -> str:
        """The version that the link names; "" for none."""
        sight = self.sight
        return sight.link.version if isinstance(sight, RootSeen) and isinstance(sight.link, Names) else ""


class ActivationSeen(Struct, frozen=True):
    """What is served and what is on its way.

    `current` is the rollout under way, `last` the last one that was decided and brought another version. `waiting` are
    a version that waits for its form, "" for none, and the reason. `resting`: the last decision was to keep things.
    `complaint_about` is the version that the complaint is about, "" for none.
    """

    position: Position
    held: Mapping[str, str] = field(default_factory=dict)
    busy: bool = False
    resting: bool = False
    complaint: str = ""
    complaint_about: str = ""
    current: Rollout | None = None
    last: Rollout | None = None
    waiting: tuple[str, str] = ("", "")


class WorkersSeen(Struct, frozen=True):
    """Connected workers, processes of the pool, and places that wait for a start. `wanted` workers, `because`."""

    peers: tuple[WorkerPeer, ...] = ()
    processes: tuple[WorkerProcess, ...] = ()
    pending_starts: tuple[PendingStart, ...] = ()
    wanted: int = 0
    because: str = ""

    @property
    def ready(self) -> int:
        """Workers that answer requests."""
        return sum(peer.ready for peer in self.peers)


class UpkeepSeen(Struct, frozen=True):
    """What sweeps have done: `last` is the last one's answer, `trouble` what keeps the disk from being in order."""

    trouble: tuple[str, ...] = ()
    last: SweepAnswer | None = None
    sweeps: int = 0
    removed_files: int = 0
    removed_bytes: int = 0


class Snapshot(Struct, frozen=True):
    """`now` is monotonic seconds, `wall` wall seconds. `watch` are the watch's state and the reason for it."""

    now: float
    wall: float
    config: Config
    versions: VersionsSeen
    activation: ActivationSeen
    workers: WorkersSeen
    upkeep: UpkeepSeen = UpkeepSeen()
    watch: tuple[str, str] = ("watching", "")
    state_problem: str = ""
    config_refused: str = ""
    jobs: JobsSeen = JobsSeen()


def frozen(parts: tuple[T, ...]) -> tuple[T, ...]:
    """Copies of `parts`: what happens to them later does not show."""
    return tuple(copy(part) for part in parts)
