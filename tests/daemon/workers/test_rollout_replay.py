"""Rollouts carried out on simulated workers that refuse, hang, die, come late and come back.

The simulation does what the executor does with each action, nothing else. After any k actions everything but what each
worker serves and the link is forgotten, and the end must be the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct
from msgspec.structs import replace
from tests.examples import examples

from modelward.daemon.workers.rollout_planner import (
    CommitWorker,
    Fail,
    PrepareWorker,
    RolloutDone,
    RolloutPolicy,
    RolloutView,
    Stage,
    SwitchLink,
    WaitForWorkers,
    WorkerView,
    next_action,
)

OLD, NEW = "old", "new"
RELOAD_SECONDS = 60.0
MOST_ACTIONS = 500
HELD = (Stage.PREPARING, Stage.PREPARED, Stage.REFUSED)
simulated = settings(max_examples=examples(80))


class Fate(Struct, frozen=True):
    """What a worker does with the new version; None never answers. `dies_at` is seconds after the rollout began."""

    load_seconds: float | None = 2.0
    refuses: bool = False
    swap_seconds: float | None = 0.1
    dies_at: float | None = None
    comes_at: float = 0.0
    empty: bool = False


@dataclass
class Worker:
    name: str
    fate: Fate
    serving: str
    stage: Stage = Stage.OLD
    since: float = 0.0
    serving_since: float = 0.0
    held: str = ""
    answers_at: float | None = None
    loading: str = ""

    def view(self, target: str) -> WorkerView:
        if self.serving == target and not self.loading and self.stage is not Stage.COMMITTING:
            return WorkerView(self.name, Stage.MOVED, self.serving_since)
        stage = Stage.JOINING if self.loading else Stage.OLD if self.stage is Stage.MOVED else self.stage
        return WorkerView(self.name, stage, self.since, empty=not self.serving)


@dataclass
class World:
    """Workers, a link and a clock. `stop_after` actions the daemon dies."""

    fates: dict[str, Fate]
    policy: RolloutPolicy
    link: str = OLD
    now: float = 0.0
    stop_after: int = MOST_ACTIONS
    actions: int = 0
    cancelled_at: float | None = None
    workers: dict[str, Worker] = field(default_factory=dict)
    deaths: list[str] = field(default_factory=list)
    gone: set[str] = field(default_factory=set)
    returning: bool = False
    all_moved: float | None = None
    began: float = 0.0
    born: int = 0
    fewest: int = 1 << 30

    def __post_init__(self) -> None:
        self.let_in()

    # the workers' side

    def let_in(self) -> None:
        for name, fate in self.fates.items():
            if name not in self.workers and name not in self.gone and self.now >= fate.comes_at:
                serving = "" if fate.empty or fate.comes_at else self.link
                self.workers[name] = Worker(name, fate, serving, since=self.now)
                if fate.comes_at:
                    self.workers[name].loading = self.link
                    self.workers[name].answers_at = self.now + 3.0

    def events(self) -> list[float]:
        """When the workers do something next."""
        times = [w.answers_at for w in self.workers.values() if w.answers_at is not None]
        times += [f.comes_at for n, f in self.fates.items() if n not in self.workers and n not in self.gone]
        times += [w.fate.dies_at for w in self.workers.values() if w.fate.dies_at is not None]
        if self.cancelled_at is not None and self.cancelled_at > self.now:
            times.append(self.cancelled_at)
        return times

    def pass_time(self, until: float) -> None:
        self.now = max(self.now, min([until, *self.events()]))
        self.let_in()
        for w in list(self.workers.values()):
            if w.fate.dies_at is not None and self.now >= w.fate.dies_at:
                self.die(w)
            elif w.answers_at is not None and self.now >= w.answers_at:
                self.answer(w)

    def die(self, w: Worker) -> None:
        """It is gone; as the pool does, another comes and loads what the link names."""
        on_new = w.serving == NEW or w.stage in (Stage.PREPARING, Stage.PREPARED, Stage.COMMITTING)
        if on_new and not self.returning:
            self.deaths.append(w.name)
        del self.workers[w.name]
        self.gone.add(w.name)
        self.come(self.now + 1.0)

    def come(self, moment: float) -> None:
        self.born += 1
        self.fates[f"x{self.born}"] = Fate(comes_at=max(moment, self.now + 0.1))

    def answer(self, w: Worker) -> None:
        w.answers_at = None
        if w.loading:
            w.serving, w.serving_since, w.loading = w.loading, self.now, ""
        elif w.stage is Stage.PREPARING:
            w.stage = Stage.REFUSED if w.fate.refuses and w.held == NEW else Stage.PREPARED
            w.since = self.now
        elif w.stage is Stage.COMMITTING:
            w.serving, w.serving_since, w.stage, w.since = w.held, self.now, Stage.MOVED, self.now

    # the daemon's side

    def drive(self, target: str) -> str:
        """ "done", "failed", or "crashed" when the daemon died in the middle of it."""
        self.began, self.all_moved = self.now, None
        policy = replace(self.policy, canary=0, bake_seconds=0.0) if self.returning else self.policy
        while self.actions < self.stop_after:
            self.actions += 1
            assert self.actions < MOST_ACTIONS, "it does not end"
            before = self.serving()
            self.fewest = min(self.fewest, len(before))
            match next_action(self.view(target), policy):
                case PrepareWorker(name):
                    self.prepare(self.workers[name], target)
                case CommitWorker(names):
                    for name in names:
                        self.commit(self.workers[name], target)
                case SwitchLink():
                    assert before
                    assert all(w.serving == target for w in self.workers.values()), "the link moved without proof"
                    self.link = target
                case WaitForWorkers(until):
                    assert until > self.now, "it waits for nothing"
                    self.pass_time(until)
                    continue
                case Fail():
                    return "failed"
                case RolloutDone():
                    return "done"
            assert self.serving() >= before, "an order took a worker out of service"
        return "crashed"

    def view(self, target: str) -> RolloutView:
        workers = tuple(w.view(target) for w in self.workers.values())
        if workers and self.all_moved is None and all(w.stage is Stage.MOVED for w in workers):
            self.all_moved = self.now
        called_off = self.cancelled_at is not None and self.now >= self.cancelled_at and not self.returning
        return RolloutView(
            workers,
            now=self.now,
            started=self.began,
            all_moved=self.all_moved,
            link_moved=self.link == target,
            deaths=tuple(self.deaths),
            cancelled="called off" if called_off else "",
        )

    def serving(self) -> set[str]:
        return {w.name for w in self.workers.values() if w.serving}

    def prepare(self, w: Worker, target: str) -> None:
        assert w.stage is not Stage.PREPARING
        load = w.fate.load_seconds if target == NEW else 2.0
        w.stage, w.since, w.held, w.loading = Stage.PREPARING, self.now, target, ""
        w.answers_at = None if load is None else self.now + load

    def commit(self, w: Worker, target: str) -> None:
        assert (w.stage, w.held) == (Stage.PREPARED, target), "told to swap to what it does not hold"
        swap = w.fate.swap_seconds if target == NEW else 0.1
        w.stage, w.since = Stage.COMMITTING, self.now
        w.answers_at = None if swap is None else self.now + swap

    def roll_out(self) -> str:
        """As the executor: forward, and back when that failed. What the workers serve in the end, or "crashed"."""
        outcome = self.drive(NEW)
        if outcome == "failed":
            self.go_back()
            self.returning, self.deaths = True, []
            outcome = self.drive(OLD)
            if outcome != "crashed":
                for w in [w for w in self.workers.values() if w.serving != OLD]:
                    self.replace(w)
                self.link = OLD
        if outcome == "crashed":
            return outcome
        while any(w.loading for w in self.workers.values()) or not self.workers:
            self.pass_time(self.now + 10)
        served = {w.serving for w in self.workers.values()}
        assert len(served) == 1, f"not all serve the same: {served}"
        return served.pop()

    def go_back(self) -> None:
        for w in self.workers.values():
            if w.stage in HELD:
                w.stage, w.since, w.held, w.answers_at = Stage.OLD, self.now, "", None
            elif w.stage is Stage.COMMITTING:  # nobody knows: it is asked to come back
                w.stage, w.since, w.answers_at = Stage.OLD, self.now, None
                w.serving = NEW if w.fate.swap_seconds is not None else OLD

    def replace(self, w: Worker) -> None:
        del self.workers[w.name]
        self.gone.add(w.name)
        fresh = Worker(f"r{w.name}", Fate(), "", since=self.now, loading=self.link, answers_at=self.now + 2)
        self.workers[fresh.name] = fresh

    def after_a_crash(self, *, commits_land: bool) -> World:
        """A new daemon: only what each worker serves and the link are left. Swaps under way end either way."""
        world = World(self.fates, self.policy, self.link)
        world.workers, world.gone, world.born = {}, set(self.gone), self.born
        for w in self.workers.values():
            serving = w.held if w.stage is Stage.COMMITTING and commits_land else w.serving
            again = Worker(w.name, w.fate, serving, serving_since=0.0)
            if serving != self.link:  # it is welcomed with what the link names
                again.loading, again.answers_at = self.link, 2.0
            world.workers[w.name] = again
        return world


steady = st.builds(
    Fate,
    load_seconds=st.sampled_from([0.5, 2.0, 20.0]),
    swap_seconds=st.sampled_from([0.1, 5.0]),
    empty=st.booleans(),
)
moody = st.builds(
    Fate,
    load_seconds=st.sampled_from([0.5, 2.0, 59.0, 61.0, None]),
    refuses=st.sampled_from([False, False, True]),
    swap_seconds=st.sampled_from([0.1, 5.0, None]),
    dies_at=st.sampled_from([None, None, 1.0, 3.0, 8.0, 13.0, 30.0]),
    comes_at=st.sampled_from([0.0, 0.0, 0.0, 1.0, 4.0, 12.0]),
    empty=st.booleans(),
)
policies = st.builds(
    RolloutPolicy,
    canary=st.integers(0, 3),
    bake_seconds=st.sampled_from([0.0, 10.0]),
    reload_timeout_seconds=st.just(RELOAD_SECONDS),
)


def crews(fates: st.SearchStrategy[Fate]) -> st.SearchStrategy[dict[str, Fate]]:
    return st.lists(fates, min_size=1, max_size=5).map(lambda some: {f"w{i}": f for i, f in enumerate(some, 1)})


@simulated
@given(crews(steady), policies)
def test_with_workers_that_obey_all_serve_it_and_the_link_names_it(
    fates: dict[str, Fate], policy: RolloutPolicy
) -> None:
    world = World(dict(fates), policy)
    assert world.roll_out() == NEW
    assert world.link == NEW


@simulated
@given(crews(moody), policies, st.sampled_from([None, None, 2.0, 9.0, 15.0]))
def test_whatever_the_workers_do_it_ends_with_all_on_one_version_and_the_link_naming_it(
    fates: dict[str, Fate], policy: RolloutPolicy, cancelled_at: float | None
) -> None:
    world = World(dict(fates), policy, cancelled_at=cancelled_at)
    assert world.roll_out() == world.link


@simulated
@given(crews(moody), policies)
def test_there_is_never_nobody_serving_while_nobody_dies(fates: dict[str, Fate], policy: RolloutPolicy) -> None:
    living = {name: replace(fate, dies_at=None) for name, fate in fates.items()}
    living["w0"] = Fate()
    world = World(living, policy)
    world.roll_out()
    assert world.fewest >= 1


@simulated
@given(crews(steady), policies, st.booleans(), st.booleans())
def test_after_a_crash_at_any_point_it_ends_as_it_would_have(
    fates: dict[str, Fate], policy: RolloutPolicy, one_refuses: bool, commits_land: bool
) -> None:
    if one_refuses:
        fates = {**fates, "w9": Fate(refuses=True)}
    whole = World(dict(fates), policy)
    end = whole.roll_out()
    assert end == (OLD if one_refuses else NEW)
    for k in range(whole.actions + 1):
        world = World(dict(fates), policy, stop_after=k)
        if world.roll_out() != "crashed":
            continue
        again = world.after_a_crash(commits_land=commits_land)
        assert again.roll_out() == end, f"another end after {k} actions"
        assert again.link == end


@simulated
@given(crews(steady), policies, st.lists(st.integers(0, 12), min_size=1, max_size=4))
def test_a_daemon_that_crashes_again_and_again_gets_there(
    fates: dict[str, Fate], policy: RolloutPolicy, crashes: list[int]
) -> None:
    world = World(dict(fates), policy)
    for k in crashes:
        world.stop_after = k
        if world.roll_out() != "crashed":
            break
        world = world.after_a_crash(commits_land=bool(k % 2))
    world.stop_after = MOST_ACTIONS
    assert world.roll_out() == world.link == NEW
