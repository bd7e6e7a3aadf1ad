"""What each connected worker reports, updated with each message.

It decides nothing and does no I/O. `receive` turns a message into new facts about a worker and an event. It raises
BadMessage when the worker cannot send that message now.
"""

from __future__ import annotations

from msgspec import Struct, field

from ...worker import protocol as p
from ...worker.settings import Terms
from .rollout_planner import (
    Figures,
    ObservedPace,
    Stage,
    WorkerView,
)

MAX_REASON = 2000
"""The number of characters kept of a worker's reason."""
MAX_OFFERS = 8
"""The number of offers kept for each worker, so that a late answer is matched to its offer."""


class WorkerPeer(Struct):
    """One connected worker. Times are monotonic seconds; `artifact` is "" for a worker that only names its version.

    `offers` maps a rollout to its version and artifact; the key "" is the welcome. `unsure` is a rollout with a commit
    that was sent and not answered: until then what the worker serves is not known. `terms` are the settings that it
    runs with, None when it did not report them. `asked` are the settings last sent to it, at `asked_at`.
    """

    name: str
    pid: int
    attached: bool
    joined: float
    left: float = 0.0
    serving: str = ""
    artifact: str = ""
    release: str = ""
    terms: Terms | None = None
    asked: Terms | None = None
    asked_at: float = 0.0
    confinement: str = ""
    missing: str = ""  # why its confinement is not complete, for people
    places: dict[str, str] = field(default_factory=dict)  # what it is confined to, as it was at its start
    serving_since: float = 0.0
    rollout: str = ""
    offers: dict[str, tuple[str, str]] = field(default_factory=dict)
    unsure: str = ""
    stage: Stage = Stage.OLD
    stage_since: float = 0.0
    because: str = ""
    beat: p.Beat = field(default_factory=p.Beat)
    beats: bool = False  # a beat came; its counts from before the first one belong to no rollout
    heard: float = 0.0
    draining: bool = False
    at_move: p.Beat = field(default_factory=p.Beat)  # the counters at the start of the last rollout, or when it moved
    loading: str = ""  # the version of the welcome that it has not answered yet

    @property
    def ready(self) -> bool:
        """Whether it answers requests."""
        return bool(self.serving) and not self.draining

    @property
    def settled(self) -> bool:
        """Whether it serves, or was never asked to serve anything."""
        return bool(self.serving) or not self.offers

    def on(self, version: str, artifact: str) -> bool:
        """Whether it serves exactly this: by artifact if it knows one, else by name."""
        return self.serving == version and (not self.artifact or self.artifact == artifact)

    def figures(self) -> Figures:
        """Its counts since the rollout began, or since it moved."""
        beat, then = self.beat, self.at_move
        requests, errors = max(0, beat.requests - then.requests), max(0, beat.errors - then.errors)
        return Figures(requests, errors, *paces(beat, requests))


def paces(beat: p.Beat, requests: int) -> tuple[ObservedPace, ObservedPace]:
    """Runs that shared the machine, and lone ones. If a worker reports no runs, its requests count as shared ones."""
    if not beat.shared.runs and not beat.lone.runs:
        return ObservedPace(requests, beat.p95_seconds), ObservedPace()
    return ObservedPace(beat.shared.runs, beat.shared.p95_seconds), ObservedPace(beat.lone.runs, beat.lone.p95_seconds)


class WorkerEvent(Struct, frozen=True):
    """Something that the supervisor may have to act on; `because` is the worker's own text."""

    worker: str
    kind: str  # serving | prepared | refused | reopened | applied | drained | stuck | refusing (or no more)
    version: str = ""
    because: str = ""
    seconds: float = 0.0


def receive(peer: WorkerPeer, message: p.FromWorker, now: float) -> WorkerEvent | None:
    """Updates the worker with a message. Raises BadMessage when the worker cannot send it now."""
    peer.heard = now
    match message:
        case p.Hello():
            raise p.BadMessage("cannot take a second hello")
        case p.Beat():
            if not peer.beats:
                peer.beats, peer.at_move = True, message
            turned, stuck = bool(message.refusing) != bool(peer.beat.refusing), message.stuck > peer.beat.stuck
            peer.beat = message
            if stuck:
                return WorkerEvent(peer.name, "stuck", because=f"{message.stuck} of its jobs do not end")
            return WorkerEvent(peer.name, "refusing", because=message.refusing[:MAX_REASON]) if turned else None
        case p.Reopened():
            return WorkerEvent(peer.name, "reopened")
        case p.Applied():
            peer.terms = message.terms
            return WorkerEvent(peer.name, "applied")
        case p.Drained():
            peer.draining = True
            return WorkerEvent(peer.name, "drained")
        case p.Prepared():
            return _prepared(peer, message, now)
        case p.CannotPrepare():
            return _refused(peer, message, now)
        case p.Serving():
            return _serving(peer, message, now)


def _prepared(peer: WorkerPeer, message: p.Prepared, now: float) -> WorkerEvent | None:
    if message.rollout != peer.rollout or peer.stage is not Stage.PREPARING:
        return None  # an answer to a rollout that was given up meanwhile
    peer.stage, peer.stage_since, peer.because = Stage.PREPARED, now, ""
    return WorkerEvent(peer.name, "prepared", message.version, message.reason[:MAX_REASON], message.seconds)


def _refused(peer: WorkerPeer, message: p.CannotPrepare, now: float) -> WorkerEvent | None:
    because = message.reason[:MAX_REASON] or "no reason given"
    if message.rollout == peer.unsure:
        peer.unsure = ""
    if message.rollout == "":  # the version of the welcome
        peer.loading = ""
        return WorkerEvent(peer.name, "refused", message.version, because)
    if message.rollout != peer.rollout:
        return None
    peer.stage, peer.stage_since, peer.because = Stage.REFUSED, now, because
    return WorkerEvent(peer.name, "refused", message.version, because)


def _serving(peer: WorkerPeer, message: p.Serving, now: float) -> WorkerEvent:
    version, artifact = peer.offers.get(message.rollout, (message.version, ""))
    if version != message.version:
        if message.rollout:
            raise p.BadMessage(f"cannot serve {message.version!r} under this rollout: it offered {version!r}")
        artifact = ""
    peer.serving, peer.artifact, peer.serving_since = message.version, artifact, now
    peer.loading = peer.unsure = ""
    if message.rollout and message.rollout == peer.rollout:
        peer.stage, peer.stage_since, peer.at_move = Stage.MOVED, now, peer.beat
    return WorkerEvent(peer.name, "serving", message.version)


def welcome(peer: WorkerPeer, version: str, artifact: str) -> None:
    """Records what the worker was asked to serve. It loads that unless it serves it already."""
    if version and not peer.on(version, artifact):
        peer.loading = version
        peer.offers[""] = (version, artifact)


def offer(
    peer: WorkerPeer, rollout: str, version: str, artifact: str, now: float, *, unload_first: bool = False
) -> p.Prepare:
    """Records that the worker is asked to prepare, and returns the message. With `unload_first` it serves nothing until
    its commit.
    """
    while len(peer.offers) >= MAX_OFFERS:
        del peer.offers[next(iter(peer.offers))]
    peer.offers[rollout] = (version, artifact)
    peer.rollout, peer.because = rollout, ""
    peer.loading = ""  # the prepare replaces the welcome
    peer.stage, peer.stage_since, peer.at_move = Stage.PREPARING, now, peer.beat
    if unload_first:
        peer.serving = peer.artifact = ""
    return p.Prepare(rollout=rollout, version=version, artifact=artifact, unload_first=unload_first)


def commit(peer: WorkerPeer, now: float) -> p.Commit:
    """Records that the worker is asked to swap, and returns the message."""
    peer.stage, peer.stage_since, peer.unsure = Stage.COMMITTING, now, peer.rollout
    return p.Commit(rollout=peer.rollout)


def abort(peer: WorkerPeer, now: float) -> p.Abort:
    """Records that the worker is asked to drop what it prepared, and returns the message."""
    rollout, peer.rollout = peer.rollout, ""
    peer.stage, peer.stage_since = Stage.OLD, now
    return p.Abort(rollout=rollout)


def on_target(peer: WorkerPeer, rollout: str, version: str, artifact: str) -> Stage:
    """The stage of a worker in a rollout to `version`."""
    if peer.loading:  # also when it still serves the target: it was asked to load something else
        return Stage.JOINING
    if peer.on(version, artifact) and not peer.unsure:
        return Stage.MOVED
    return peer.stage if peer.rollout == rollout and peer.stage is not Stage.MOVED else Stage.OLD


def away(peer: WorkerPeer, rollout: str, version: str, artifact: str) -> WorkerView | None:
    """A worker of ours that is disconnected, for the planner; None when it had nothing to do with the rollout."""
    if on_target(peer, rollout, version, artifact) in (Stage.OLD, Stage.JOINING, Stage.REFUSED):
        return None
    return WorkerView(peer.name, Stage.AWAY, peer.left)


def view(peer: WorkerPeer, rollout: str, version: str, artifact: str) -> WorkerView:
    """A worker as the planner of that rollout sees it."""
    stage = on_target(peer, rollout, version, artifact)
    since = {Stage.MOVED: peer.serving_since, Stage.JOINING: peer.joined}.get(stage, peer.stage_since)
    return WorkerView(peer.name, stage, since, peer.because, peer.figures(), not peer.serving, peer.attached)
