"""One seed, one plan; nothing in it is impossible, and nothing asks for an outage that nobody promised to prevent."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.examples import examples
from tests.soak import plan as p

BROKEN = tuple(f"broken {i}" for i in range(38))
SEEDS = st.integers(0, 2**32)
SECONDS = st.floats(20, 700)


def _plans(check):  # type: ignore[no-untyped-def]
    return settings(max_examples=examples(60))(given(seed=SEEDS, seconds=SECONDS)(check))


@_plans
def test_a_seed_replays_its_plan(seed: int, seconds: float) -> None:
    assert p.plan(seed, seconds, BROKEN) == p.plan(seed, seconds, BROKEN)


@_plans
def test_actions_are_in_order_and_within_the_time(seed: int, seconds: float) -> None:
    actions = p.plan(seed, seconds, BROKEN)
    assert all(a.at_seconds <= b.at_seconds for a, b in itertools.pairwise(actions))
    assert all(a.at_seconds >= 0 and a.ends_seconds <= seconds for a in actions)


@_plans
def test_what_an_action_names_is_there(seed: int, seconds: float) -> None:
    there, seen = {p.FIRST_VERSION}, {p.FIRST_VERSION}
    for action in p.plan(seed, seconds, BROKEN):
        if action.kind in ("good version", "bad version"):
            assert action.name not in seen
            seen.add(action.name)
            there.add(action.name)
        elif action.name:
            assert action.name in there
        if action.kind == "remove version":
            there.remove(action.name)
        assert 2 <= len(there) + 1 <= p.MOST_VERSIONS + 3


@_plans
def test_two_good_versions_always_stay(seed: int, seconds: float) -> None:
    good = {p.FIRST_VERSION}
    for action in p.plan(seed, seconds, BROKEN):
        if action.kind == "good version":
            good.add(action.name)
        if action.kind == "remove version" and action.name in good:
            good.remove(action.name)
            assert len(good) >= 2


@_plans
def test_a_daemon_is_killed_only_when_every_worker_listens_again(seed: int, seconds: float) -> None:
    ended = -60.0
    for action in p.plan(seed, seconds, BROKEN):
        if action.kind == "kill daemon":
            assert action.at_seconds >= ended + p.DAEMON_REST_SECONDS
        if action.kind in ("kill worker", "end worker") or action.what == "and a worker":
            ended = action.ends_seconds
        if action.kind == "restart workers":
            ended = action.at_seconds + p.RESTART_SECONDS


@_plans
def test_workers_end_one_at_a_time_and_never_while_the_daemon_is_away(seed: int, seconds: float) -> None:
    processes = [a for a in p.plan(seed, seconds, BROKEN) if a.kind in p.PROCESSES]
    for one, other in itertools.pairwise(processes):
        assert other.at_seconds > one.ends_seconds
        if one.kind != "kill daemon" and other.kind != "kill daemon":
            assert other.at_seconds >= one.at_seconds + p.WORKER_REST_SECONDS


@_plans
def test_no_process_ends_while_the_log_disk_is_full(seed: int, seconds: float) -> None:
    actions = p.plan(seed, seconds, BROKEN)
    ends = [a for a in actions if a.kind in p.PROCESSES]
    for fill in [a for a in actions if a.kind == "fill disk" and a.what == "logs"]:
        for end in ends:
            over = end.at_seconds + (p.RESTART_SECONDS if end.kind == "restart workers" else end.lasts_seconds)
            assert over <= fill.at_seconds or end.at_seconds >= fill.ends_seconds + p.DROPS_SAID_SECONDS


@_plans
def test_one_disk_is_full_at_a_time_and_all_have_room_at_the_end(seed: int, seconds: float) -> None:
    fills = [a for a in p.plan(seed, seconds, BROKEN) if a.kind == "fill disk"]
    assert all(other.at_seconds > one.ends_seconds for one, other in itertools.pairwise(fills))
    assert all(fill.ends_seconds <= seconds - p.DROPS_SAID_SECONDS for fill in fills)


@_plans
def test_every_second_step_of_the_clock_leads_back_to_the_true_time(seed: int, seconds: float) -> None:
    steps = [a.number for a in p.plan(seed, seconds, BROKEN) if a.kind == "step clock"]
    assert all(steps[0::2])
    assert not any(steps[1::2])


@pytest.mark.parametrize("seed", range(8))
def test_ten_minutes_bring_every_kind_of_action_and_of_broken_version(seed: int) -> None:
    actions = p.plan(seed, 600, BROKEN)
    assert {a.kind for a in actions} == set(p.PERIODS)
    assert {a.what for a in actions if a.kind == "bad version"} == set(BROKEN)
    assert {a.what for a in actions if a.kind == "good version"} == set(p.GOOD_FORMS)
    assert {a.what for a in actions if a.kind == "fill disk"} == set(p.DISKS)
    assert {a.what for a in actions if a.kind == "bad reload"} == set(p.BAD_RELOADS)
    assert {a.what for a in actions if a.kind == "kill daemon"} == set(p.DAEMON_ENDS)


@pytest.mark.parametrize("seed", range(8))
def test_half_a_minute_brings_most_of_it(seed: int) -> None:
    kinds = {a.kind for a in p.plan(seed, 30, BROKEN)}
    assert len(kinds) >= len(p.PERIODS) - 3
