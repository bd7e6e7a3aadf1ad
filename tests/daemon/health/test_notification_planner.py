"""What is told to people: grouped, repeated, ended; not twice, not falsely, not too often."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from modelward.daemon.health.notification_planner import (
    GroupNotified,
    HeldBack,
    Item,
    Notification,
    NotificationPace,
    plan,
)

PACE = NotificationPace(wait=10, interval=120, repeat=3600)


def item(name: str, since: float = 0.0, group: str = "warning") -> Item:
    return Item(name, group, since, f"{name} is bad")


def names(message: Notification) -> list[str]:
    return [i.fingerprint for i in message.firing]


def test_five_hundred_alerts_in_a_second_are_one_message() -> None:
    items = [item(f"a{n}", n / 500) for n in range(500)]
    told: dict[str, GroupNotified] = {}
    sent = []
    for tenth in range(600):
        now = tenth / 10
        step = plan([i for i in items if i.since <= now], told, now, PACE)
        told = step.told
        sent += step.messages
    assert [m.fresh for m in sent] == [500]


def test_waits_for_others_to_join_before_the_first_message() -> None:
    assert plan([item("a")], {}, 9.9, PACE).messages == ()
    assert plan([item("a")], {}, 9.9, PACE).due == 10
    (message,) = plan([item("a"), item("b", 9)], {}, 10, PACE).messages
    assert names(message) == ["a", "b"]


def test_says_nothing_again_before_repeat_and_then_says_it_again() -> None:
    told = plan([item("a")], {}, 10, PACE).told
    step = plan([item("a")], told, 3609, PACE)
    assert (step.messages, step.due) == ((), 3610)
    (message,) = plan([item("a")], told, 3610, PACE).messages
    assert (names(message), message.fresh) == (["a"], 0)


def test_zero_repeat_says_it_once() -> None:
    pace = NotificationPace(repeat=0)
    step = plan([item("a")], {}, 10, pace)
    assert step.due is None
    assert plan([item("a")], step.told, 1e9, pace).messages == ()


def test_one_that_joins_is_told_with_the_others_after_the_interval() -> None:
    told = plan([item("a")], {}, 10, PACE).told
    both = [item("a"), item("b", 20)]
    assert plan(both, told, 129, PACE).messages == ()
    (message,) = plan(both, told, 130, PACE).messages
    assert (names(message), message.fresh) == (["b", "a"], 1)


def test_what_ended_is_told_once_after_the_interval() -> None:
    told = plan([item("a")], {}, 10, PACE).told
    assert plan([], told, 129, PACE).messages == ()
    step = plan([], told, 130, PACE)
    assert step.messages[0].resolved == (("a", "a is bad"),)
    assert step.messages[0].over
    assert plan([], step.told, 1e6, PACE).messages == ()
    assert plan([], step.told, 1e6, PACE).told == {}


def test_what_was_never_told_as_firing_is_never_told_as_ended() -> None:
    step = plan([item("a")], {}, 5, PACE)
    assert plan([], step.told, 500, PACE).messages == ()


HELD_A = HeldBack(frozenset({"a"}))


def test_what_is_held_back_is_neither_told_nor_over_until_it_is_free() -> None:
    assert plan([item("a")], {}, 50, PACE, HELD_A).messages == ()
    (message,) = plan([item("a")], {}, 50, PACE).messages
    assert message.fresh == 1
    told = message.after and plan([item("a")], {}, 50, PACE).told
    step = plan([], told, 5000, PACE, HELD_A)
    assert (step.messages, step.told) == ((), told)
    assert plan([item("a")], told, 50_000, PACE, HELD_A).due is None  # nor repeated
    assert plan([], told, 5000, PACE).messages[0].resolved == (("a", "a is bad"),)


def test_others_of_the_group_are_told_and_what_is_held_back_stays_told() -> None:
    told = plan([item("a")], {}, 10, PACE).told
    step = plan([item("a"), item("b", 20)], told, 500, PACE, HELD_A)
    assert [names(message) for message in step.messages] == [["b"]]
    assert set(step.told["warning"].firing) == {"a", "b"}


def test_what_came_and_went_meanwhile_is_one_message_afterwards() -> None:
    missed = {"warning": ("a was bad", "b was bad")}
    (message,) = plan([item("c")], {}, 50, PACE, HeldBack(missed=missed)).messages
    assert (message.missed, names(message)) == (missed["warning"], ["c"])


def test_an_acknowledged_alert_is_not_repeated_and_its_end_is_told() -> None:
    seen = replace(item("a"), acknowledged=True)
    told = plan([seen], {}, 10, PACE).told
    step = plan([seen], told, 50_000, PACE)
    assert (step.messages, step.due) == ((), None)
    (message,) = plan([seen, item("b", 60)], told, 500, PACE).messages
    assert message.fresh == 1
    assert plan([], told, 500, PACE).messages[0].resolved == (("a", "a is bad"),)


def test_groups_do_not_wait_for_one_another() -> None:
    told = plan([item("a")], {}, 10, PACE).told
    (message,) = plan([item("a"), item("b", 20, "critical")], told, 30, PACE).messages
    assert (message.group, names(message)) == ("critical", ["b"])


def test_a_restart_says_nothing_again_and_tells_what_ended_once() -> None:
    """What a former daemon told is known."""
    told = {"warning": GroupNotified(-100.0, {"a": "a is bad", "b": "b is bad"})}
    both = [item("a", -500), item("b", -500)]
    assert plan(both, told, 50, PACE).messages == ()
    step = plan(both[:1], told, 61, PACE)
    assert [m.resolved for m in step.messages] == [(("b", "b is bad"),)]
    assert plan(both[:1], step.told, 181, PACE).messages == ()


@given(st.lists(st.tuples(st.floats(0.5, 100), st.sets(st.sampled_from("abcdef"))), max_size=80))
def test_never_too_often_never_resolved_before_firing_and_right_in_the_end(
    looks: list[tuple[float, set[str]]],
) -> None:
    """However alerts come and go: the receivers' picture follows, at most one message an interval."""
    told: dict[str, GroupNotified] = {}
    now, last = 0.0, float("-inf")
    since: dict[str, float] = {}
    believed: set[str] = set()
    calm = [(60.0, looks[-1][1] if looks else set[str]())] * 5
    for passed, active in [*looks, *calm]:
        now += passed
        since = {name: since.get(name, now) for name in active}
        step = plan([item(name, at) for name, at in since.items()], told, now, PACE)
        told = step.told
        assert len(step.messages) <= 1
        for message in step.messages:
            assert now - last >= PACE.interval
            last = now
            assert {f for f, _ in message.resolved} <= believed
            believed = set(names(message))
    assert believed == (looks[-1][1] if looks else set())
