"""Who is started, retired and killed, by table: one situation a line."""

from __future__ import annotations

import pytest

from modelward.daemon.workers.pool_planner import (
    Kill,
    Member,
    Order,
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

NOW = 1000.0
LIMITS = PoolLimits(start_seconds=60, drain_seconds=30, silence_seconds=40, recheck_seconds=2)
S, R, L = Phase.STARTING, Phase.READY, Phase.RETIRING


def m(name: str, phase: Phase = R, *, age: float = 5, quiet: float = 1, outdated: str = "", **more: object) -> Member:
    return Member(name, phase, NOW - age, NOW - quiet, outdated, **more)  # type: ignore[arg-type]


def told(
    *members: Member, pending_starts: tuple[PendingStart, ...] = (), wanted: int = 2, limits: PoolLimits = LIMITS
) -> list[str]:
    """The orders in a few letters."""
    return [_short(order) for order in orders(members, pending_starts, wanted, NOW, limits)]


def _short(order: Order) -> str:
    match order:
        case Start(pending, because):
            return f"start{'' if pending is None else f'({pending.failures})'}: {because}"
        case Retire(name):
            return f"retire {name}"
        case Recheck(name):
            return f"recheck {name}"
        case Kill(name):
            return f"kill {name}"


START, REPLACE = "start: 2 workers are wanted", "start: replacement"
due, later = PendingStart(0, NOW), PendingStart(3, NOW + 4)
late, blocked = PendingStart(2, NOW - 1), PendingStart(0, NOW, "exit status 3")


@pytest.mark.parametrize(
    ("members", "pending_starts", "expected"),
    [
        # as many as wanted, no more and no fewer
        ((), (), [START, START]),
        ((m("a"),), (), [START]),
        ((m("a"), m("b")), (), []),
        ((m("a", S), m("b", S)), (), []),
        ((m("a"), m("b", L)), (), [START]),
        ((m("a"), m("b"), m("c", age=1)), (), ["retire c"]),
        ((m("a"), m("b"), m("c", S)), (), []),
        ((m("a"), m("b"), m("c"), m("d", L)), (), []),
        # places that the dead left
        ((m("a"),), (due,), ["start(0): a worker is missing"]),
        ((m("a"),), (late,), ["start(2): a worker died"]),
        ((m("a"),), (later,), []),
        ((m("a"),), (blocked,), []),
        ((), (blocked, later), []),
        ((), (blocked, late), ["start(2): a worker died"]),
        ((), (late,), ["start(2): a worker died", START]),
        ((m("a"), m("b")), (late,), []),
        # replacement first
        ((m("a", outdated="x"), m("b")), (), [REPLACE]),
        ((m("a", outdated="x"), m("b", outdated="x")), (), [REPLACE]),
        ((m("a", outdated="x"), m("b"), m("c", S)), (), []),
        ((m("a", outdated="x"), m("b"), m("c")), (), ["retire a"]),
        ((m("a", outdated="x"), m("b"), m("c"), m("d", L)), (), []),
        ((m("a", outdated="x"), m("b")), (later,), []),
        ((m("a", outdated="x"), m("b")), (blocked,), []),
        ((m("a", L), m("b")), (later,), []),
        # one that is not ready itself goes once enough others are
        ((m("a", S, outdated="x"), m("b"), m("c", S)), (), []),
        ((m("a", S, outdated="x"), m("b"), m("c")), (), ["retire a"]),
    ],
)
def test_workers_come_and_go(
    members: tuple[Member, ...], pending_starts: tuple[PendingStart, ...], expected: list[str]
) -> None:
    assert told(*members, pending_starts=pending_starts) == expected


@pytest.mark.parametrize(
    ("member", "expected"),
    [
        (m("a", S, age=59), []),
        (m("a", S, age=60), ["recheck a"]),
        (m("a", S, age=99, overdue_since=NOW - 1), []),
        (m("a", S, age=99, overdue_since=NOW - 2), ["kill a"]),
        (m("a", S, age=99, overdue_since=NOW - 2, doomed=True), []),
        (m("a", S, age=99, overdue_since=NOW - 2, spared=True), ["recheck a"]),
        (m("a", R, quiet=45, overdue_since=NOW - 2, spared=True), ["recheck a"]),
        (m("a", R, quiet=39), []),
        (m("a", R, quiet=40), ["recheck a"]),
        (m("a", R, quiet=45, overdue_since=NOW - 2), ["kill a"]),
        (m("a", L, age=29, quiet=99), []),
        (m("a", L, age=30, quiet=1), ["recheck a"]),
        (m("a", L, age=32, overdue_since=NOW - 2), ["kill a"]),
    ],
)
def test_who_is_overdue_is_looked_at_again_and_then_killed(member: Member, expected: list[str]) -> None:
    assert [o for o in told(member, wanted=1) if not o.startswith("start")] == expected


def test_everybody_who_fell_silent_at_once_is_doubted_before_anybody_is_killed() -> None:
    registry = [m(name, quiet=3600) for name in "abcdefgh"]
    assert told(*registry, wanted=8) == [f"recheck {name}" for name in "abcdefgh"]


def test_a_successor_that_is_being_killed_is_no_reason_to_let_the_old_one_go() -> None:
    old, young = m("a", outdated="x"), m("b", quiet=99, doomed=True)
    assert told(old, young, wanted=1) == []


def test_only_so_many_load_at_the_same_time() -> None:
    limits = PoolLimits(starting=3)
    assert len(told(wanted=8, limits=limits)) == 3
    assert len(told(m("a", S), m("b", S), wanted=8, limits=limits)) == 1
    assert told(m("a", S), m("b", S), m("c", S), wanted=8, limits=limits) == []
    assert next_check((m("a", S),), (due,), PoolLimits(starting=1)) == NOW - 5 + 60


def test_the_last_ready_worker_stays_until_there_is_another() -> None:
    assert told(m("a", outdated="x"), m("b", S), wanted=1) == []
    assert told(m("a", outdated="x"), m("b"), wanted=1) == ["retire a"]


def test_with_none_wanted_all_leave_one_at_a_time() -> None:
    assert told(m("a"), m("b", age=2), wanted=0) == ["retire b"]
    assert told(m("a"), m("b", L), wanted=0) == []
    assert told(m("a"), wanted=0) == ["retire a"]


def test_places_nobody_needs_are_dropped_the_hopeless_first() -> None:
    assert places((), (blocked, later, late), 2) == ((late, later), 2)
    assert places((m("a"),), (blocked, later), 1) == ((), 0)
    assert places((m("a", outdated="x"),), (blocked,), 1) == ((blocked,), 1)
    assert places((m("a", L),), (later,), 1) == ((later,), 1)
    assert places((m("a", outdated="x", doomed=True),), (later,), 1) == ((), 0)


@pytest.mark.parametrize(
    ("members", "pending_starts", "moment"),
    [
        ((), (), None),
        ((), (blocked,), None),
        ((), (blocked, later), NOW + 4),
        ((m("a", S, age=10),), (), NOW + 50),
        ((m("a", R, quiet=10), m("b", L, age=5)), (), NOW + 25),
        ((m("a", R, quiet=50, overdue_since=NOW),), (), NOW + 2),
        ((m("a", L, age=90, overdue_since=NOW - 9, doomed=True),), (), None),
    ],
)
def test_the_next_look_is_when_time_alone_changes_something(
    members: tuple[Member, ...], pending_starts: tuple[PendingStart, ...], moment: float | None
) -> None:
    assert next_check(members, pending_starts, LIMITS) == moment
