"""The daemon as a whole: what `GET /v1/status`, `GET /health` and `GET /ready` answer."""

from __future__ import annotations

from msgspec import UNSET, Struct, UnsetType

from .alerts import AlertReport
from .rollouts import RolloutAnswer


class VersionReason(Struct, frozen=True):
    """A version and what there is to know of it; `version` is "" where none can be named."""

    version: str
    because: str


class StateReason(Struct, frozen=True):
    """A state and the reason for it, "" for none."""

    state: str
    because: str


class WorkersCount(Struct, frozen=True):
    """How many workers answer, how many there are, and how many are wanted and why."""

    ready: int
    total: int
    wanted: int
    because: str


class PendingKey(Struct, frozen=True):
    """A key of the configuration that does not hold everywhere yet: `waits_for` is workers or daemon restart.

    `workers` names those of the `total` that run with the former value.
    """

    key: str
    waits_for: str
    workers: list[str]
    total: int
    message: str


class FullestDisk(Struct, frozen=True):
    """The fullest file system; empty while none was measured. `forecast` is which disk will be full and when, "" for
    none.
    """

    mount: str | UnsetType = UNSET
    used_percent: float | UnsetType = UNSET
    free_bytes: int | UnsetType = UNSET
    forecast: str | UnsetType = UNSET


class PanelReport(Struct, frozen=True):
    """Where the panel listens, "" for nowhere, and why it is not open, "" while it is."""

    listen: str
    problem: str


class ConfigReport(Struct, frozen=True):
    """The configuration in force: its file ("": defaults), how many there were, why a newer one was refused, and the
    keys that variables of the environment give.
    """

    path: str
    generation: int
    rejected: str
    environment: list[str] = []


class HeartbeatReport(Struct, frozen=True):
    """The last heartbeat: how many in a row did not arrive and why, whether it reported a failure, how long ago it was.

    `delivered` is when the last one arrived, `failed` when the last one did not and `failed_because` why, since the
    daemon's start; "" for none.
    """

    failures: int
    because: str
    failing: bool
    seconds_ago: float
    delivered: str = ""
    failed: str = ""
    failed_because: str = ""


class LastProbe(Struct, frozen=True):
    """The last probe: when, by which version and within how many seconds it was answered. `expected` is the text of its
    clip, `got` the text of the answer; both are "" when no answer came.
    """

    time: str
    passed: bool
    seconds: float
    version: str
    clip: str
    expected: str
    got: str


class ProbeReport(Struct, frozen=True):
    """Clips with a known text that are sent through the port. `off` is why none is sent, "" while they are. `in_a_row`
    is how many failed one after the other, `because` why, `failing_since` since when ("" while they pass).
    `p95_seconds` is of those that passed. Not `configured`: the configuration asks for none.
    """

    off: str
    passed: int
    failed: int
    in_a_row: int
    because: str
    p95_seconds: float | None
    configured: bool = False
    failing_since: str = ""
    last: LastProbe | None = None


class StatusAnswer(Struct, frozen=True):
    """The whole at a glance. `live` is the version that is served, by the name that the link gives it.

    `previous` is what a rollback goes back to, "" for nothing. `link` is there while the link names something else.
    `root` describes a model root in which nothing can be written, "" for any other. `waiting` is a version that waits
    before its rollout. `version` is the release of the daemon, `pid` its process, `uptime_seconds` its age.
    """

    live: str
    link: VersionReason | None
    root: str
    serving: str
    previous: str
    ready: bool
    state: str
    workers: WorkersCount
    pending: list[PendingKey]
    rollout: RolloutAnswer | None
    waiting: VersionReason | None
    disk: FullestDisk
    alerts: list[AlertReport]
    watch: StateReason
    panel: PanelReport
    heartbeat: HeartbeatReport | None
    probe: ProbeReport
    config: ConfigReport
    version: str
    pid: int
    uptime_seconds: float


class HealthAnswer(Struct, frozen=True):
    """Whether the daemon is alive."""

    alive: bool


class ReadyAnswer(Struct, frozen=True):
    """Whether some worker takes traffic."""

    ready: bool
