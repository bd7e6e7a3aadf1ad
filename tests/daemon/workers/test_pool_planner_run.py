"""Orders carried out over and over on simulated processes: whatever they do, as many as wanted are ready in the end."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.examples import examples

from modelward.daemon.workers.backoff import delay_seconds, failures_after
from modelward.daemon.workers.pool_planner import (
    Kill,
    Member,
    PendingStart,
    Phase,
    PoolLimits,
    Recheck,
    Retire,
    Start,
    next_check,
    orders,
    places,
)

LIMITS = PoolLimits(start_seconds=60, drain_seconds=30, silence_seconds=40, recheck_seconds=2, starting=3)
TICK_SECONDS = 0.5
REST_SECONDS = 600.0  # six processes in a row that never get ready take 435
simulated = settings(max_examples=examples(40))


@dataclass(frozen=True)
class Fate:
    """How a process behaves: dies or hangs while starting, falls silent, ignores the request to drain."""

    ready_after: float | None = 1.0
    dies_after: float | None = None
    silent_after: float | None = None
    drains_in: float | None = 1.0


GOOD = Fate()
fates = st.builds(
    Fate,
    ready_after=st.sampled_from([0.5, 1.0, 20.0, None]),
    dies_after=st.sampled_from([None, None, 0.5, 3.0, 30.0]),
    silent_after=st.sampled_from([None, None, 5.0]),
    drains_in=st.sampled_from([0.5, 20.0, None]),
)


@dataclass
class Process:
    name: str
    fate: Fate
    born: float
    failures: int
    phase: Phase = Phase.STARTING
    since: float = 0.0
    heard: float = 0.0
    outdated: str = ""
    overdue_since: float | None = None
    killed_at: float | None = None

    @property
    def ready(self) -> bool:
        return self.phase is Phase.READY and self.killed_at is None


@dataclass
class Shop:
    """Processes under orders, as the pool carries them out. `fates` run out: then all are good."""

    wanted: int
    fates: list[Fate]
    now: float = 0.0
    registry: dict[str, Process] = field(default_factory=dict)
    pending_starts: tuple[PendingStart, ...] = ()
    number: int = 0
    most: int = 0

    def members(self) -> tuple[Member, ...]:
        return tuple(
            Member(c.name, c.phase, c.since, c.heard, c.outdated, c.overdue_since, c.killed_at is not None)
            for c in self.registry.values()
        )

    def tick(self) -> None:
        self.now += TICK_SECONDS
        for process in list(self.registry.values()):
            self._live(process)
        self._step()
        assert next_check(self.members(), self.pending_starts, LIMITS) is None or self.registry or self.pending_starts

    def _live(self, c: Process) -> None:
        age, fate = self.now - c.born, c.fate
        gone = fate.dies_after is not None and age >= fate.dies_after
        if c.killed_at is not None and self.now >= c.killed_at + 5:
            gone = True
        if c.phase is Phase.RETIRING and fate.drains_in is not None and self.now >= c.since + fate.drains_in:
            gone = True
        if gone:
            del self.registry[c.name]
            if c.phase is not Phase.RETIRING:
                failures = failures_after(c.failures, self.now - c.since if c.phase is Phase.READY else 0)
                self.pending_starts += (PendingStart(failures, self.now + delay_seconds(failures, 0.5)),)
            return
        if c.phase is Phase.STARTING and fate.ready_after is not None and age >= fate.ready_after:
            c.phase, c.since, c.heard, c.overdue_since = Phase.READY, self.now, self.now, None
        if c.phase is Phase.READY and (fate.silent_after is None or age < fate.silent_after):
            c.heard, c.overdue_since = self.now, None

    def _step(self) -> None:
        members = self.members()
        self.pending_starts, _ = places(members, self.pending_starts, self.wanted)
        for order in orders(members, self.pending_starts, self.wanted, self.now, LIMITS):
            match order:
                case Start(pending, _):
                    self._start(pending)
                case Retire(name):
                    self._retire(self.registry[name])
                case Recheck(name):
                    self.registry[name].overdue_since = self.now
                case Kill(name, because):
                    self._kill(self.registry[name], because)
        self.most = max(self.most, len(self.registry))

    def _start(self, pending: PendingStart | None) -> None:
        if pending is not None:
            assert not pending.blocked
            assert self.now >= pending.due, "started before its time"
            kept = list(self.pending_starts)
            kept.remove(pending)
            self.pending_starts = tuple(kept)
        self.number += 1
        fate = self.fates.pop(0) if self.fates else GOOD
        name = f"w{self.number}"
        failures = pending.failures if pending else 0
        self.registry[name] = Process(name, fate, self.now, failures, since=self.now, heard=self.now)
        assert sum(c.phase is Phase.STARTING for c in self.registry.values()) <= LIMITS.starting

    def _retire(self, c: Process) -> None:
        others = sum(o.ready for o in self.registry.values() if o is not c)
        assert others >= self.wanted or not c.ready and others, f"{c.name} leaves {others} of {self.wanted}"
        assert c.outdated or len(self.registry) > self.wanted
        assert all(o.phase is not Phase.RETIRING for o in self.registry.values()), "two leave at the same time"
        c.phase, c.since, c.overdue_since = Phase.RETIRING, self.now, None

    def _kill(self, c: Process, because: str) -> None:
        assert c.killed_at is None
        assert c.overdue_since is not None
        assert self.now - c.overdue_since >= LIMITS.recheck_seconds
        limit = {
            Phase.STARTING: (self.now - c.since >= 60, "not ready"),
            Phase.READY: (self.now - c.heard >= 40, "sent nothing"),
            Phase.RETIRING: (self.now - c.since >= 30, "did not drain"),
        }[c.phase]
        assert limit[0]
        assert limit[1] in because
        c.killed_at = self.now

    def rest(self, seconds: float = REST_SECONDS) -> None:
        """Time passes, and nothing new is asked for."""
        for _ in range(int(seconds / TICK_SECONDS)):
            self.tick()

    @property
    def at_ease(self) -> bool:
        ready = [c for c in self.registry.values() if c.ready and not c.outdated]
        return len(ready) == len(self.registry) == self.wanted and not self.pending_starts


@simulated
@given(st.integers(1, 5), st.lists(fates, max_size=6))
def test_as_many_as_wanted_are_ready_in_the_end(wanted: int, fates: list[Fate]) -> None:
    shop = Shop(wanted, fates)
    shop.rest()
    assert shop.at_ease, shop.registry


@simulated
@given(st.integers(1, 4), st.integers(0, 6), st.lists(fates, max_size=4), st.integers(0, 40))
def test_a_changed_wish_is_fulfilled_too(before: int, after: int, fates: list[Fate], ticks: int) -> None:
    shop = Shop(before, fates)
    shop.rest(ticks * TICK_SECONDS)
    shop.wanted = after
    shop.rest()
    assert shop.at_ease, shop.registry


@simulated
@given(st.integers(1, 4), st.lists(fates, max_size=5), st.integers(1, 2))
def test_replacing_everybody_never_leaves_fewer_ready_than_wanted(wanted: int, fates: list[Fate], times: int) -> None:
    shop = Shop(wanted, [])
    shop.rest(60)
    assert shop.at_ease
    patient = [Fate(f.ready_after, None if f.ready_after else f.dies_after, None, f.drains_in) for f in fates]
    shop.fates = patient
    for _ in range(times):
        for process in shop.registry.values():
            process.outdated = "asked for"
        for _ in range(int(REST_SECONDS * 2 / TICK_SECONDS)):
            shop.tick()
            assert sum(c.ready for c in shop.registry.values()) >= wanted
    assert shop.at_ease, shop.registry
    assert shop.most <= wanted + 2, "one successor and one that leaves"
