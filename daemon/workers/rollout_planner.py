"""Decides the next step of moving the workers from one version to another. Pure: a snapshot in, one action out.

Stateless and idempotent: the same snapshot gives the same answer, so a crash between two actions needs no special case.
Invariants: a worker gives up the version that it serves only after it holds the next one ready. The link moves only
when every worker proved the version. A failure ends with every worker back on its old version.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace


class Stage(StrEnum):
    """Where one worker stands with regard to the version of the rollout."""

    OLD = "old"  # serves another version, or none
    JOINING = "joining"  # just joined, and loads the version of its welcome
    PREPARING = "preparing"
    PREPARED = "prepared"
    REFUSED = "refused"
    COMMITTING = "committing"
    MOVED = "moved"  # serves the target
    AWAY = "away"  # it had the target when its connection ended: it joins again, or its death is reported


class ObservedPace(Struct, frozen=True):
    """How long recent runs took: how many there were, and the 95th percentile."""

    runs: int = 0
    p95_seconds: float = 0.0


class Figures(Struct, frozen=True):
    """What a worker answered since the rollout began (or since it moved).

    `shared` are runs that shared the machine, `lone` are runs that had it alone and are faster. So each is compared
    with its own kind only.
    """

    requests: int = 0
    errors: int = 0
    shared: ObservedPace = ObservedPace()
    lone: ObservedPace = ObservedPace()


class WorkerView(Struct, frozen=True):
    """One worker. `since` is when its stage began (MOVED: when it first served the target).

    `because` is its reason when it refused. `spent_seconds` is how much of its time it has used in this stage; None:
    all that passed. `held` names what outside the worker holds it up, "" when nothing is known.
    """

    name: str
    stage: Stage
    since: float
    because: str = ""
    figures: Figures = Figures()
    empty: bool = False  # serves nothing at all
    attached: bool = False  # belongs to another program
    spent_seconds: float | None = None
    held: str = ""


class RolloutPolicy(Struct, frozen=True):
    """The operator's `[rollout]`. Zero canaries: each worker is moved as soon as it is prepared. Zero bake: no
    watching.
    """

    canary: int = 1
    bake_seconds: float = 10.0
    max_error_ratio: float = 0.02
    max_latency_ratio: float = 2.0
    reload_timeout_seconds: float = 60.0


class RolloutView(Struct, frozen=True):
    """A rollout at one instant. Times are monotonic seconds.

    `all_moved` is when all served the target for the first time, None before. `before` is what the old version did
    until the rollout began. `deaths` are the workers that died because of the target. `cancelled` is why it is no
    longer wanted.
    """

    workers: tuple[WorkerView, ...]
    now: float
    started: float
    all_moved: float | None = None
    link_moved: bool = False
    before: Figures = Figures()
    deaths: tuple[str, ...] = ()
    cancelled: str = ""


class PrepareWorker(Struct, frozen=True):
    worker: str
    because: str


class CommitWorker(Struct, frozen=True):
    workers: tuple[str, ...]
    because: str


class SwitchLink(Struct, frozen=True):
    because: str


class LeaveOut(Struct, frozen=True):
    """A worker that another program started does not answer: it must not hold up all others."""

    worker: str
    because: str


class WaitForWorkers(Struct, frozen=True):
    """Nothing to do before `until`, unless a worker sends a message."""

    until: float
    because: str


class Fail(Struct, frozen=True):
    """Give the version up: workers that prepared it drop it, those that serve it go back. `blame`: the version is at
    fault.
    """

    because: str
    blame: bool = True


class RolloutDone(Struct, frozen=True):
    because: str


Action = PrepareWorker | CommitWorker | SwitchLink | LeaveOut | WaitForWorkers | Fail | RolloutDone

AWAY_SECONDS = 5.0
"""A living worker joins again within this time."""
LEAST_REQUESTS = 20
"""Fewer requests than this show nothing about a version's latency."""
LEAST_LATENCY_SECONDS = 0.010
"""A smaller difference than this is noise of the machine."""


def next_action(view: RolloutView, policy: RolloutPolicy) -> Action:
    """What to do now. See the module for the invariants."""
    for worker in view.workers:
        if worker.attached and (because := _late(worker, view.now, policy)):
            return LeaveOut(worker.name, because)
        if worker.held and (because := _late(worker, view.now, policy)):
            return Fail(f"{because}: {worker.held}", blame=False)
    if because := _broken(view, policy):
        return Fail(because)
    if away := [w for w in view.workers if w.stage is Stage.AWAY]:
        until = max(w.since for w in away) + AWAY_SECONDS
        if view.now < until:
            return WaitForWorkers(until, f"{away[0].name} is away")
        view = replace(view, workers=tuple(w for w in view.workers if w.stage is not Stage.AWAY))
    if not view.workers:
        return WaitForWorkers(view.started + policy.reload_timeout_seconds, "no worker is there yet")
    if action := _next_to_move(view, policy):
        return action
    if not view.link_moved:
        return SwitchLink("every worker serves it")
    return _last_watch(view, policy)


def _next_to_move(view: RolloutView, policy: RolloutPolicy) -> Action | None:
    waiting = [w for w in view.workers if w.stage is not Stage.MOVED]
    if not waiting:
        return None
    # A worker that just joined moves in its turn, once it serves. If that takes too long, it moves as it is.
    patient = [w for w in waiting if w.stage is Stage.JOINING and view.now < _until(w, view.now, policy)]
    here = [w for w in waiting if w not in patient]
    empty = [w for w in here if w.empty]
    if (until := _bake_ends(view, policy)) is not None and view.now < until and not empty:
        return WaitForWorkers(until, "baking")
    if not here:
        return WaitForWorkers(min(_until(w, view.now, policy) for w in patient), f"{patient[0].name} is joining")
    first = here[: max(0, policy.canary - (len(view.workers) - len(waiting)))]
    # A worker that serves nothing does not wait: a young version is better than none.
    group = empty or first or here
    ready = [w.name for w in group if w.stage is Stage.PREPARED]
    if ready and (empty or not policy.canary or len(ready) == len(group)):
        why = "it serves nothing meanwhile" if empty else "canary prepared" if first else "prepared"
        return CommitWorker(tuple(ready), why)
    if busy := [w for w in here if w.stage in (Stage.PREPARING, Stage.COMMITTING)]:
        return WaitForWorkers(min(_until(w, view.now, policy) for w in busy), f"{busy[0].name} is {busy[0].stage}")
    chosen = next(w for w in group if w.stage in (Stage.OLD, Stage.JOINING))
    return PrepareWorker(chosen.name, "it serves nothing" if empty else "canary" if first else "next in turn")


def _bake_ends(view: RolloutView, policy: RolloutPolicy) -> float | None:
    """When the canaries have been watched long enough; None while there are too few, or none are wanted."""
    moved = sorted(w.since for w in view.workers if w.stage is Stage.MOVED)
    canaries = min(policy.canary, len(view.workers))
    return moved[canaries - 1] + policy.bake_seconds if canaries and len(moved) >= canaries else None


def _last_watch(view: RolloutView, policy: RolloutPolicy) -> Action:
    if view.cancelled:
        return RolloutDone(f"every worker serves it; not watched further: {view.cancelled}")
    until = (view.all_moved if view.all_moved is not None else view.now) + policy.bake_seconds
    return WaitForWorkers(until, "watching") if view.now < until else RolloutDone("every worker serves it")


def _broken(view: RolloutView, policy: RolloutPolicy) -> str:
    """Why the version must not go on; "" when there is no reason."""
    if view.cancelled and not view.link_moved:
        return view.cancelled
    if view.deaths:
        return f"worker {view.deaths[0]} died while it served it"
    for worker in view.workers:
        if worker.stage is Stage.REFUSED:
            return f"worker {worker.name} refused it: {worker.because}"
        if because := _late(worker, view.now, policy):
            return because
    if not view.workers and view.now >= view.started + policy.reload_timeout_seconds:
        return f"no worker came up in {policy.reload_timeout_seconds:g} s"
    return worse(view.workers, view.before, policy) if policy.bake_seconds > 0 else ""


def _late(worker: WorkerView, now: float, policy: RolloutPolicy) -> str:
    slow = worker.stage in (Stage.PREPARING, Stage.COMMITTING)
    if slow and now >= _until(worker, now, policy):
        return f"worker {worker.name} did not finish {worker.stage} in {policy.reload_timeout_seconds:g} s"
    return ""


def _until(worker: WorkerView, now: float, policy: RolloutPolicy) -> float:
    """When this worker has used up its time, at the earliest."""
    spent = now - worker.since if worker.spent_seconds is None else worker.spent_seconds
    return now + policy.reload_timeout_seconds - spent


def worse(workers: tuple[WorkerView, ...], before_it: Figures, policy: RolloutPolicy) -> str:
    """Why the moved workers do worse than the old version by more than the policy allows; "" when they do not.

    Compared with the workers still on the old version, or with `before_it` when those answered too little.
    """
    new = [w.figures for w in workers if w.stage is Stage.MOVED]
    old = [w.figures for w in workers if w.stage not in (Stage.MOVED, Stage.AWAY)]
    if sum(f.requests for f in old) < LEAST_REQUESTS:
        old = [before_it]
    requests, errors = sum(f.requests for f in new), sum(f.errors for f in new)
    if not requests:
        return ""
    before_requests = sum(f.requests for f in old)
    before = sum(f.errors for f in old) / before_requests if before_requests else 0.0
    ratio = errors / requests
    if errors and ratio > before + policy.max_error_ratio:
        return (
            f"{errors} of {requests} requests failed ({ratio:.1%}), {before:.1%} on the old version, "
            f"at most {policy.max_error_ratio:.1%} more"
        )
    return _slower(together([f.shared for f in new]), together([f.shared for f in old]), policy) or _slower(
        together([f.lone for f in new]), together([f.lone for f in old]), policy
    )


def together(paces: Sequence[ObservedPace]) -> ObservedPace:
    """Several workers together: the sum of their runs, and the time of the slowest worker."""
    return ObservedPace(sum(pace.runs for pace in paces), max((pace.p95_seconds for pace in paces), default=0.0))


def _slower(new: ObservedPace, old: ObservedPace, policy: RolloutPolicy) -> str:
    slow, usual = new.p95_seconds, old.p95_seconds
    enough = min(new.runs, old.runs) >= LEAST_REQUESTS
    if enough and usual > 0 and slow > policy.max_latency_ratio * usual and slow - usual > LEAST_LATENCY_SECONDS:
        return (
            f"p95 {slow * 1000:.0f} ms, {usual * 1000:.0f} ms on the old version, "
            f"at most {policy.max_latency_ratio:g} times that"
        )
    return ""
