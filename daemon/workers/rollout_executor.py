"""Carries out a rollout: calls `rollout_planner.next_action`, does that one thing, and checks again.

It decides nothing. Invariant: when `run` returns, one of two states holds. Either every worker serves the new version
and the link names it. Or every worker that could be brought back serves the old version, the others are being replaced,
and the link names the old version. The outcome names what could not be done.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable

import structlog
from msgspec import Struct, field

from ...worker.protocol import Beat
from ...worker.shared.progress import ProcessReading
from ..answers.rollouts import RolloutAnswer, RolloutStep, RolloutWorker
from ..errors import ModelwardError
from ..system.background import here
from ..system.clock import Clock, rfc3339
from ..system.failures import sentence
from . import peer as peer_state
from .load_readings import READ_SECONDS, LoadReadings
from .overlap import Way
from .peer import WorkerPeer
from .pool import Ended
from .registry import WorkerRegistry
from .rollout_planner import (
    CommitWorker,
    Fail,
    Figures,
    LeaveOut,
    PrepareWorker,
    RolloutDone,
    RolloutPolicy,
    RolloutView,
    Stage,
    SwitchLink,
    WaitForWorkers,
    next_action,
    together,
)

MAX_STEPS = 200
"""The number of progress lines kept of one rollout."""
OUTSIDE_DEATHS = 3
"""Deaths that the version need not have caused: a rollout accepts this many before it gives up."""
OUTSIDE = (-9, -15, 0, None)
"""Killed or ended from outside, or unknown: for a former daemon's worker there is no exit status."""


class Target(Struct, frozen=True):
    """A version that workers can be asked to load. Memory and CPU time of loading are those measured by its validation
    (0: unknown).
    """

    version: str
    digest: str
    artifact: str
    load_bytes: int = 0
    load_seconds: float = 0.0


class Rollout(Struct):
    """One rollout, from its request to its outcome. Times: `started` monotonic seconds, `began` RFC 3339.

    `left_out` are the pids of attached workers that did not answer.
    """

    id: str
    target: Target
    origin: str
    because: str
    old: Target | None
    started: float
    began: str
    state: str = "preparing"
    moves_link: bool = True
    hold: tuple[str, ...] = ()
    workers: list[RolloutWorker] = field(default_factory=list)
    steps: list[RolloutStep] = field(default_factory=list)
    outcome: str = ""
    succeeded: bool = False
    blame: bool = False  # the version caused the failure
    cancelled: str = ""
    all_moved: float | None = None
    link_moved: bool = False
    returning: bool = False
    deaths: list[str] = field(default_factory=list)
    outside_deaths: int = 0
    left_out: set[int] = field(default_factory=set)
    before: Figures = Figures()

    @property
    def wire_id(self) -> str:
        """Its name in messages to workers: for them the way back is another rollout."""
        return f"{self.id}-back" if self.returning else self.id

    @property
    def changes_version(self) -> bool:
        """Whether it brings other bytes. Otherwise it brings another form of them, or brings single workers back."""
        return self.origin not in ("converge", "form")

    @property
    def decided(self) -> bool:
        return self.state in ("done", "failed")

    def answer(self) -> RolloutAnswer:
        """As it is now, for the API and for history."""
        return RolloutAnswer(
            id=self.id,
            version=self.target.version,
            digest=self.target.digest,
            old_version=self.old.version if self.old else "",
            origin=self.origin,
            state=self.state,
            because=self.outcome or self.because,
            began=self.began,
            decided=self.decided,
            succeeded=self.succeeded,
            workers=self.workers,
            steps=[*self.steps],
        )


class RolloutExecutor:
    """Carries out one rollout at a time; `progress` is called at every step.

    `commit_point` is called with True once every worker proved the target, and with False when that is taken back: it
    moves the link and records what is served. It raises ModelwardError when it cannot. `room` gives how a worker has to
    load a version now, and why. `read` returns what a process has done so far. When it returns None, all time that
    passes counts against a worker that loads.
    """

    def __init__(
        self,
        registry: WorkerRegistry,
        clock: Clock,
        *,
        commit_point: Callable[[Rollout, bool], Awaitable[None]],
        progress: Callable[[Rollout], None],
        room: Callable[[Target], tuple[Way, str]] = lambda target: (Way.BESIDE, ""),
        read: Callable[[int], ProcessReading | None] = lambda pid: None,
    ) -> None:
        self._registry, self._clock, self._commit_point, self._progress = registry, clock, commit_point, progress
        self._room, self._loads = room, LoadReadings(clock, read)
        self._log = structlog.get_logger("rollout")
        self.current: Rollout | None = None

    async def run(self, rollout: Rollout, policy: RolloutPolicy) -> Rollout:
        """Runs the rollout to its end and returns it with its outcome."""
        self.current = rollout
        self._registry.moving_to = (rollout.target.version, rollout.target.artifact)
        rollout.before = self._since_start()
        if rollout.old is None:
            policy = RolloutPolicy(canary=0, bake_seconds=0.0, reload_timeout_seconds=policy.reload_timeout_seconds)
        try:
            because = await self._forward(rollout, policy)
            if because:
                await self._go_back(rollout, because, policy)
            else:
                self._decide(rollout, True, f"serving {rollout.target.version}")
        finally:
            self.current = self._registry.moving_to = None
        return rollout

    def cancel(self, because: str) -> None:
        """The current rollout is no longer wanted: it goes back, or ends its last watch early."""
        if self.current is not None and not self.current.returning:
            self.current.cancelled = self.current.cancelled or because
            self._registry.wake()

    def worker_ended(self, ended: Ended) -> None:
        """A worker process has ended: it counts when it had to do with the version of the rollout."""
        rollout, peer = self.current, self._registry.last_seen(ended.name)
        if rollout is None or rollout.returning or peer is None or ended.retired:
            return
        stage = peer_state.on_target(peer, rollout.wire_id, rollout.target.version, rollout.target.artifact)
        if stage in (Stage.OLD, Stage.JOINING, Stage.REFUSED):
            return
        if ended.status in OUTSIDE:
            rollout.outside_deaths += 1
        if ended.status not in OUTSIDE or rollout.outside_deaths >= OUTSIDE_DEATHS:
            rollout.deaths.append(f"{ended.name} ({ended.because})")
        self._registry.wake()

    async def _forward(self, rollout: Rollout, policy: RolloutPolicy) -> str:
        """Like `_drive`, to the target. An error in the daemon is a reason to go back, and no fault of the version."""
        try:
            return await self._drive(rollout, rollout.target, policy)
        except Exception as e:  # noqa: BLE001 - around one rollout: workers must not be left between two versions
            failures = here().failures
            failures.failed("rollout", e, lasts_seconds=failures.shown_seconds)
            return f"an error in the daemon, which is in the log: {sentence(e)}"

    async def _drive(self, rollout: Rollout, target: Target, policy: RolloutPolicy) -> str:
        """Follows the planner to its end. Returns the reason when it gave up, "" when it is done."""
        while True:
            await self._loads.take(self._part(rollout))
            view = self._view(rollout, target)
            match next_action(view, policy):
                case PrepareWorker(worker, because):
                    self._prepare(rollout, target, worker, because)
                case CommitWorker(workers, because):
                    self._commit(rollout, workers, because)
                case SwitchLink(because):
                    if trouble := await self._link(rollout, because):
                        return trouble
                case LeaveOut(worker, because):
                    self._leave_out(rollout, worker, because)
                case WaitForWorkers(until, because):
                    self._state(rollout, because)
                    longest = READ_SECONDS if self._loads.current else math.inf
                    await self._registry.changed(min(longest, until - self._clock.monotonic()))
                case Fail(because, blame):
                    if not rollout.returning:
                        rollout.blame = blame and not view.cancelled and bool(view.workers)
                    return because
                case RolloutDone():
                    return ""

    async def _link(self, rollout: Rollout, because: str) -> str:
        try:
            await self._commit_point(rollout, True)
        except ModelwardError as e:
            return str(e)
        rollout.link_moved = True
        if rollout.moves_link:
            self._step(rollout, "link", f"current -> {rollout.target.version}: {because}")
        return ""

    def _prepare(self, rollout: Rollout, target: Target, worker: str, because: str) -> None:
        peer = self._registry.peer(worker)
        if peer is None:
            return
        way, tight = self._room(target) if peer.serving else (Way.BESIDE, "")
        # With nothing to go back to, or after the decision, a refusal would only repeat for ever.
        undecided = rollout.old is not None and not rollout.returning and not rollout.link_moved
        if way is Way.REFUSE and undecided:
            rollout.cancelled = f"no room for two versions: {tight}"
            return
        unload_first = way is not Way.BESIDE
        now, because = self._clock.monotonic(), f"{because}; unloads first: {tight}" if unload_first else because
        offer = peer_state.offer(peer, rollout.wire_id, target.version, target.artifact, now, unload_first=unload_first)
        self._registry.send(worker, offer)
        self._step(rollout, "prepare", f"{worker} loads {target.version} ({because})", worker)

    def _commit(self, rollout: Rollout, workers: tuple[str, ...], because: str) -> None:
        for worker in workers:
            if (peer := self._registry.peer(worker)) is not None:
                self._registry.send(worker, peer_state.commit(peer, self._clock.monotonic()))
        self._step(rollout, "commit", f"{', '.join(workers)} swap ({because})", ", ".join(workers))

    def _leave_out(self, rollout: Rollout, worker: str, because: str) -> None:
        if (peer := self._registry.peer(worker)) is not None:
            rollout.left_out.add(peer.pid)
            self._step(rollout, "left out", because, worker)
            self._registry.dismiss(worker, because)

    def _part(self, rollout: Rollout) -> list[WorkerPeer]:
        """The workers that take part. An attached worker does once it answered its welcome, as nothing else would make
        it answer.
        """
        return [
            peer
            for peer in self._registry.peers()
            if not peer.draining and not (peer.attached and (peer.loading or peer.pid in rollout.left_out))
        ]

    async def _go_back(self, rollout: Rollout, because: str, policy: RolloutPolicy) -> None:
        now = self._clock.monotonic()
        self._registry.moving_to = None
        self._step(rollout, "back", because)
        for peer in self._registry.peers():
            if peer.rollout == rollout.wire_id and peer.stage in (Stage.PREPARING, Stage.PREPARED, Stage.REFUSED):
                self._registry.send(peer.name, peer_state.abort(peer, now))
        if rollout.old is None:
            self._decide(rollout, False, f"{because}; nothing else is there to serve")
            return
        rollout.returning, rollout.all_moved, rollout.started = True, None, now
        rollout.deaths = []
        policy = RolloutPolicy(canary=0, bake_seconds=0.0, reload_timeout_seconds=policy.reload_timeout_seconds)
        trouble = [await self._drive(rollout, rollout.old, policy)]
        if rollout.link_moved:
            try:
                await self._commit_point(rollout, False)
            except ModelwardError as e:
                trouble.append(str(e))
        old = rollout.old
        astray = [
            p.name for p in self._part(rollout) if not p.loading and (p.unsure or not p.on(old.version, old.artifact))
        ]
        for name in astray:
            if self._registry.pool is not None:
                self._registry.pool.replace(name, f"it did not go back to {rollout.old.version}: {trouble[0]}")
        if astray:
            trouble.append(f"{', '.join(astray)} did not go back")
        self._decide(
            rollout, False, "; ".join([because, *filter(None, trouble), f"still serving {rollout.old.version}"])
        )

    def _view(self, rollout: Rollout, target: Target) -> RolloutView:
        now, part = self._clock.monotonic(), self._part(rollout)
        what = rollout.wire_id, target.version, target.artifact
        workers = tuple(self._loads.with_spent(peer_state.view(peer, *what), now) for peer in part)
        if not rollout.returning:
            workers += tuple(view for peer in self._registry.missing() if (view := peer_state.away(peer, *what)))
        rollout.workers = [RolloutWorker(w.name, w.stage.value) for w in workers]
        if workers and rollout.all_moved is None and all(w.stage is Stage.MOVED for w in workers):
            rollout.all_moved = now
        return RolloutView(
            workers=workers,
            now=now,
            started=rollout.started,
            all_moved=rollout.all_moved,
            link_moved=rollout.link_moved or rollout.returning,
            before=rollout.before,
            deaths=tuple(rollout.deaths),
            cancelled="" if rollout.returning else rollout.cancelled,
        )

    def _since_start(self) -> Figures:
        """What the old version did so far, over all workers. Each worker's own count begins here."""
        beats: list[Beat] = []
        for peer in self._registry.peers():
            peer.at_move = peer.beat
            beats.append(peer.beat)
        paces = [peer_state.paces(beat, beat.requests) for beat in beats]
        return Figures(
            sum(b.requests for b in beats),
            sum(b.errors for b in beats),
            together([shared for shared, _ in paces]),
            together([lone for _, lone in paces]),
        )

    def _state(self, rollout: Rollout, because: str) -> None:
        watched = because in ("baking", "watching")
        state = "returning" if rollout.returning else "baking" if watched else "preparing"
        # Watching may follow baking at once: the state is the same, but it is another step.
        told = [step.because for step in rollout.steps[-1:]]
        again = watched and told != [because] and len(rollout.steps) < MAX_STEPS
        if state != rollout.state or again:
            rollout.state = state
            self._step(rollout, state, because)

    def _step(self, rollout: Rollout, kind: str, text: str, worker: str = "") -> None:
        if len(rollout.steps) < MAX_STEPS:
            rollout.steps.append(RolloutStep(rfc3339(self._clock.wall()), kind, text, worker))
        self._log.info(kind, rollout=rollout.id, version=rollout.target.version, because=text)
        self._progress(rollout)

    def _decide(self, rollout: Rollout, succeeded: bool, outcome: str) -> None:
        rollout.succeeded, rollout.outcome = succeeded, outcome
        rollout.state = "done" if succeeded else "failed"
        self._step(rollout, rollout.state, outcome)
