"""The next step of a rollout, by table: one situation a line."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from modelward.daemon.workers.rollout_planner import (
    Action,
    CommitWorker,
    Fail,
    Figures,
    LeaveOut,
    ObservedPace,
    PrepareWorker,
    RolloutDone,
    RolloutPolicy,
    RolloutView,
    Stage,
    SwitchLink,
    WaitForWorkers,
    WorkerView,
    next_action,
    worse,
)

NOW = 1000.0
POLICY = RolloutPolicy(
    canary=1, bake_seconds=10, max_error_ratio=0.02, max_latency_ratio=2.0, reload_timeout_seconds=60
)
ONE_BY_ONE = replace(POLICY, canary=0)
NO_BAKE = replace(POLICY, bake_seconds=0)

STAGES = {
    "old": Stage.OLD,
    "join": Stage.JOINING,
    "prep": Stage.PREPARING,
    "ready": Stage.PREPARED,
    "no": Stage.REFUSED,
    "swap": Stage.COMMITTING,
    "new": Stage.MOVED,
    "away": Stage.AWAY,
}


def registry(stages: str, *, age: float = 1.0) -> tuple[WorkerView, ...]:
    """Workers w1, w2 … from words such as "new old:empty prep@59": stage, nothing served, seconds in it."""
    found = []
    for i, word in enumerate(stages.split(), 1):
        word, _, seconds = word.partition("@")
        stage, _, mark = word.partition(":")
        since = NOW - (float(seconds) if seconds else age)
        empty = mark == "empty" or stage == "join"
        found.append(WorkerView(f"w{i}", STAGES[stage], since, "bad graph" if stage == "no" else "", empty=empty))
    return tuple(found)


def view(stages: str, **more: object) -> RolloutView:
    return RolloutView(registry(stages), now=NOW, started=NOW - 20, **more)  # type: ignore[arg-type]


def short(action: Action) -> str:
    match action:
        case PrepareWorker(worker):
            return f"prepare {worker}"
        case CommitWorker(workers):
            return f"commit {' '.join(workers)}"
        case SwitchLink():
            return "link"
        case LeaveOut(worker):
            return f"leave out {worker}"
        case WaitForWorkers(until, because):
            return f"wait {until - NOW:g}: {because}"
        case Fail(because):
            return f"fail: {because}"
        case RolloutDone():
            return "done"


def told(stages: str, policy: RolloutPolicy = POLICY, **more: object) -> str:
    return short(next_action(view(stages, **more), policy))


@pytest.mark.parametrize(
    ("stages", "expected"),
    [
        # the canary alone, first
        ("old old old", "prepare w1"),
        ("prep old old", "wait 59: w1 is preparing"),
        ("ready old old", "commit w1"),
        ("swap old old", "wait 59: w1 is committing"),
        # watched, then the others: prepared one at a time, swapped together
        ("new@4 old old", "wait 6: baking"),
        ("new@10 old old", "prepare w2"),
        ("new@11 prep old", "wait 59: w2 is preparing"),
        ("new@12 ready old", "prepare w3"),
        ("new@13 ready prep", "wait 59: w3 is preparing"),
        ("new@14 ready ready", "commit w2 w3"),
        ("new@15 swap swap", "wait 59: w2 is committing"),
        ("new@15 new swap", "wait 59: w3 is committing"),
        ("new@16 new new", "link"),
        # alone it is its own canary
        ("old", "prepare w1"),
        ("ready", "commit w1"),
        ("new@3", "link"),
    ],
)
def test_one_canary_is_watched_and_the_others_follow_together(stages: str, expected: str) -> None:
    assert told(stages) == expected


@pytest.mark.parametrize(
    ("stages", "expected"),
    [
        ("old old old", "prepare w1"),
        ("ready old old old", "prepare w2"),
        ("ready ready old old", "commit w1 w2"),
        ("new@20 swap old old", "wait 59: w2 is committing"),
        ("new@20 new@4 old old", "wait 6: baking"),
        ("new@20 new@10 old old", "prepare w3"),
        ("new@20 old old old", "prepare w2"),
        ("old old", "prepare w1"),
        ("ready ready", "commit w1 w2"),
    ],
)
def test_two_canaries_are_watched_from_when_the_second_serves(stages: str, expected: str) -> None:
    assert told(stages, replace(POLICY, canary=2)) == expected


@pytest.mark.parametrize(
    ("stages", "expected"),
    [
        ("old old", "prepare w1"),
        ("ready old", "commit w1"),
        ("swap old", "wait 59: w1 is committing"),
        ("new old", "prepare w2"),
        ("new ready", "commit w2"),
        ("new new", "link"),
    ],
)
def test_without_canaries_each_is_moved_as_soon_as_it_is_prepared(stages: str, expected: str) -> None:
    assert told(stages, ONE_BY_ONE) == expected


@pytest.mark.parametrize(
    ("stages", "expected"),
    [
        ("old old:empty", "prepare w2"),
        ("old ready:empty", "commit w2"),
        ("old:empty old:empty", "prepare w1"),
        ("ready:empty old:empty", "commit w1"),
        ("prep:empty old:empty", "wait 59: w1 is preparing"),
        # it waits for no canary to be watched, and the others wait on
        ("new@4 old old:empty", "prepare w3"),
        ("new@4 old ready:empty", "commit w3"),
        ("new@4 old prep:empty", "wait 59: w3 is preparing"),
        ("new@4 old new@1", "wait 6: baking"),
        # it is a canary as good as any
        ("old new@4", "wait 6: baking"),
        ("prep old:empty", "wait 59: w1 is preparing"),
        ("ready old:empty", "prepare w2"),
    ],
)
def test_who_serves_nothing_comes_first_and_the_others_are_watched_as_ever(stages: str, expected: str) -> None:
    assert told(stages) == expected


@pytest.mark.parametrize(
    ("stages", "expected"),
    [
        ("join old", "prepare w2"),
        ("join new@4", "wait 6: baking"),
        ("join new@11", "wait 59: w1 is joining"),
        ("join new@11 ready", "commit w3"),
        ("join@60 new@11", "prepare w1"),
        ("join@60 new@4", "prepare w1"),
        ("join join", "wait 59: w1 is joining"),
    ],
)
def test_a_newcomer_may_first_load_what_it_was_welcomed_with_and_is_never_blamed_on_the_version(
    stages: str, expected: str
) -> None:
    assert told(stages) == expected


@pytest.mark.parametrize(
    ("stages", "expected"),
    [
        ("no old", "fail: worker w1 refused it: bad graph"),
        ("new@11 no", "fail: worker w2 refused it: bad graph"),
        ("prep@60 old", "fail: worker w1 did not finish preparing in 60 s"),
        ("prep@59.9 old", "wait 0.1: w1 is preparing"),
        ("swap@60 old", "fail: worker w1 did not finish committing in 60 s"),
        ("ready@999 prep@59 old", "wait 1: w2 is preparing"),
    ],
)
def test_a_refusal_or_a_worker_that_takes_too_long_ends_it(stages: str, expected: str) -> None:
    policy = replace(POLICY, canary=2) if stages.startswith("ready@999") else POLICY
    assert told(stages, policy) == expected


@pytest.mark.parametrize(
    ("stages", "expected"),
    [
        ("away old", "wait 4: w1 is away"),
        ("away@2 new@20 away@3", "wait 3: w1 is away"),
        ("away new@20 ready", "wait 4: w1 is away"),
        ("away@5 new@20", "link"),
        ("away@5 old", "prepare w2"),
        ("away no", "fail: worker w2 refused it: bad graph"),
        ("away@5", "wait 40: no worker is there yet"),
    ],
)
def test_nothing_goes_on_before_it_is_known_what_became_of_a_worker_that_vanished(stages: str, expected: str) -> None:
    assert told(stages) == expected


@pytest.mark.parametrize("stages", ["old", "new@4 old", "new@20 new", "ready"])
@pytest.mark.parametrize("link_moved", [False, True])
def test_a_death_while_serving_it_ends_it_at_any_time(stages: str, link_moved: bool) -> None:
    deaths = ("w9 (died of SIGSEGV)",)
    expected = "fail: worker w9 (died of SIGSEGV) died while it served it"
    assert told(stages, deaths=deaths, link_moved=link_moved) == expected


@pytest.mark.parametrize(
    ("stages", "expected"),
    [
        ("prep@60 new@20", "leave out w1"),
        ("swap@60 new@20", "leave out w1"),
        ("prep@59 new@20", "wait 1: w1 is preparing"),
        ("no new@20", "fail: worker w1 refused it: bad graph"),
    ],
)
def test_another_programs_worker_may_refuse_but_not_hold_up_the_others(stages: str, expected: str) -> None:
    first, *others = registry(stages)
    workers = (replace(first, attached=True), *others)
    assert short(next_action(RolloutView(workers, now=NOW, started=NOW - 99), POLICY)) == expected


def test_with_no_worker_it_waits_for_one_and_then_gives_up() -> None:
    assert short(next_action(RolloutView((), now=NOW, started=NOW - 20), POLICY)) == "wait 40: no worker is there yet"
    assert short(next_action(RolloutView((), now=NOW, started=NOW - 60), POLICY)) == "fail: no worker came up in 60 s"


@pytest.mark.parametrize(
    ("stages", "link_moved", "expected"),
    [
        ("old old", False, "fail: v3 is wanted now"),
        ("new@4 old", False, "fail: v3 is wanted now"),
        ("new new", False, "fail: v3 is wanted now"),
        # after the commit point it is finished, not undone; only the watching ends
        ("new new", True, "done"),
        ("new@20 old", True, "prepare w2"),
    ],
)
def test_called_off_it_goes_back_before_the_link_moved_and_forward_after(
    stages: str, link_moved: bool, expected: str
) -> None:
    assert told(stages, link_moved=link_moved, cancelled="v3 is wanted now", all_moved=NOW - 1) == expected


@pytest.mark.parametrize(
    ("policy", "all_moved", "expected"),
    [
        (POLICY, NOW - 4, "wait 6: watching"),
        (POLICY, NOW - 10, "done"),
        (POLICY, None, "wait 10: watching"),
        (NO_BAKE, NOW, "done"),
    ],
)
def test_all_are_watched_once_more_after_the_link_moved(
    policy: RolloutPolicy, all_moved: float | None, expected: str
) -> None:
    assert told("new new", policy, link_moved=True, all_moved=all_moved) == expected


@pytest.mark.parametrize(
    ("stages", "expected"),
    [("new@0 old", "prepare w2"), ("new@0 ready", "commit w2"), ("new@0 new@0", "link")],
)
def test_without_a_bake_nobody_waits(stages: str, expected: str) -> None:
    assert told(stages, NO_BAKE) == expected


# figures


def figures(requests: int, errors: int, p95_seconds: float) -> Figures:
    return Figures(requests, errors, ObservedPace(requests, p95_seconds))


def figured(new: Figures, old: Figures | None = None) -> tuple[WorkerView, ...]:
    moved = WorkerView("w1", Stage.MOVED, NOW - 4, figures=new)
    return (moved,) if old is None else (moved, WorkerView("w2", Stage.OLD, NOW - 90, figures=old))


@pytest.mark.parametrize(
    ("new", "old", "because"),
    [
        (figures(100, 0, 0.1), figures(100, 0, 0.1), ""),
        (figures(100, 2, 0.1), figures(100, 0, 0.1), ""),
        (figures(100, 3, 0.1), figures(100, 0, 0.1), "3 of 100 requests failed (3.0%), 0.0% on the old version"),
        (figures(100, 12, 0.1), figures(100, 10, 0.1), ""),
        (figures(100, 13, 0.1), figures(100, 10, 0.1), "13 of 100 requests failed (13.0%), 10.0% on the old"),
        (figures(1, 1, 0.1), figures(100, 0, 0.1), "1 of 1 requests failed (100.0%)"),
        (figures(0, 0, 0.0), figures(100, 0, 0.1), ""),
        # p95: twice as much is too much, once there is enough to compare
        (figures(100, 0, 0.2), figures(100, 0, 0.1), ""),
        (figures(100, 0, 0.21), figures(100, 0, 0.1), "p95 210 ms, 100 ms on the old version, at most 2 times that"),
        (figures(19, 0, 0.9), figures(100, 0, 0.1), ""),
        (figures(100, 0, 0.009), figures(100, 0, 0.001), ""),
        (figures(100, 0, 0.5), figures(100, 0, 0.0), ""),
        # too little from the old workers meanwhile: what they did before counts
        (figures(100, 0, 0.5), figures(5, 0, 0.5), "p95 500 ms, 100 ms on the old version"),
        (figures(100, 0, 0.5), None, "p95 500 ms, 100 ms on the old version"),
    ],
)
def test_it_may_do_only_so_much_worse_than_the_old_version(new: Figures, old: Figures | None, because: str) -> None:
    found = worse(figured(new, old), figures(1000, 0, 0.1), POLICY)
    assert found.startswith(because) if because else found == ""


@pytest.mark.parametrize(
    ("new", "old", "because"),
    [
        # the canary shared the machine, the others had it to themselves: that says nothing of the version
        ((ObservedPace(100, 0.4), ObservedPace()), (ObservedPace(), ObservedPace(100, 0.1)), ""),
        ((ObservedPace(100, 0.4), ObservedPace(19, 0.3)), (ObservedPace(100, 0.4), ObservedPace(100, 0.1)), ""),
        (
            (ObservedPace(100, 0.4), ObservedPace(20, 0.3)),
            (ObservedPace(100, 0.4), ObservedPace(100, 0.1)),
            "p95 300 ms, 100 ms on the old version",
        ),
        (
            (ObservedPace(100, 0.9), ObservedPace(20, 0.1)),
            (ObservedPace(100, 0.4), ObservedPace(100, 0.1)),
            "p95 900 ms, 400 ms on the old version",
        ),
    ],
)
def test_runs_that_had_the_machine_to_themselves_are_compared_with_such_alone(
    new: tuple[ObservedPace, ObservedPace], old: tuple[ObservedPace, ObservedPace], because: str
) -> None:
    found = worse(figured(Figures(100, 0, *new), Figures(100, 0, *old)), Figures(), POLICY)
    assert found.startswith(because) if because else found == ""


def test_worse_figures_end_the_watch_early_before_and_after_the_link_moved() -> None:
    workers = figured(figures(100, 50, 0.1), figures(100, 0, 0.1))
    before = RolloutView(workers, now=NOW, started=NOW - 20)
    assert short(next_action(before, POLICY)).startswith("fail: 50 of 100 requests failed")
    assert short(next_action(replace(before, link_moved=True), POLICY)).startswith("fail: 50 of 100 requests failed")
    assert short(next_action(before, NO_BAKE)) == "prepare w2", "not watched, not judged"


def test_with_nothing_to_compare_errors_alone_speak() -> None:
    nothing = Figures()
    assert worse(figured(figures(100, 0, 9.9)), nothing, POLICY) == ""
    assert worse(figured(figures(100, 3, 0.1)), nothing, POLICY).startswith("3 of 100 requests failed")


def test_asked_again_it_says_the_same() -> None:
    for stages in ("old old", "new@4 old", "new@11 ready", "no", "new new"):
        assert next_action(view(stages), POLICY) == next_action(view(stages), POLICY)


def test_what_counts_is_the_time_that_a_worker_used_up_not_the_time_that_passed() -> None:
    (loading,) = registry("prep@300")
    started = RolloutView((replace(loading, spent_seconds=20.0),), now=NOW, started=NOW - 300)
    assert short(next_action(started, POLICY)) == "wait 40: w1 is preparing"
    late = replace(started, workers=(replace(loading, spent_seconds=60.0),))
    assert next_action(late, POLICY) == Fail("worker w1 did not finish preparing in 60 s")
    held = replace(started, workers=(replace(loading, spent_seconds=60.0, held="it is stopped"),))
    assert next_action(held, POLICY) == Fail("worker w1 did not finish preparing in 60 s: it is stopped", blame=False)
