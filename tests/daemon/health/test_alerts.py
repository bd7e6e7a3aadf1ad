"""The states of alerts: a figure at a time, by table and by chance."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from modelward.daemon.config.alert_metrics import FIGURES
from modelward.daemon.config.load import AlertRule, parse
from modelward.daemon.health.alerts import (
    MAX_ALERTS,
    NO_DATA_SECONDS,
    SHOWN_RESOLVED_SECONDS,
    Alert,
    AlertState,
    Figure,
    due,
    evaluate,
    restore,
)
from modelward.daemon.health.rules import BUILT_IN, HealthRule, rules

DISK = HealthRule("disk_used_percent", "disk_used_percent", 90, 85, for_seconds=60, keep_seconds=60)
REFUSED = HealthRule("config_refused", "config_refused", 0, 0, standing=True)


def after(
    values: Iterable[tuple[float, float | None]], rule: HealthRule = DISK, **how: bool
) -> tuple[Alert, list[AlertState]]:
    """The alert after (time, value) figures, and each state it went through."""
    alerts: dict[str, Alert] = {}
    states = []
    for now, value in values:
        alerts = evaluate(alerts, [rule], [Figure(rule.metric, value, "/")], [rule.metric], now, **how)
        state = alerts[f"{rule.name}:/"].state
        states += [state] if not states or states[-1] is not state else []
    return alerts[f"{rule.name}:/"], states


@pytest.mark.parametrize(
    ("values", "states"),
    [
        ([(0, 50)], ["ok"]),
        ([(0, 91)], ["pending"]),
        ([(0, 90)], ["ok"]),  # above, not at
        ([(0, 91), (59, 99)], ["pending"]),
        ([(0, 91), (60, 91)], ["pending", "firing"]),
        ([(0, 91), (30, 90), (60, 91), (119, 91)], ["pending", "ok", "pending"]),  # one miss begins it anew
        ([(0, 91), (60, 91), (70, 88), (500, 88)], ["pending", "firing"]),  # between clear and above: fires on
        ([(0, 91), (60, 91), (70, 85), (129, 85)], ["pending", "firing"]),
        ([(0, 91), (60, 91), (70, 85), (130, 85)], ["pending", "firing", "resolved"]),
        ([(0, 91), (60, 91), (70, 85), (100, 86), (140, 85)], ["pending", "firing"]),
        ([(0, 91), (60, 91), (70, 5), (130, 5), (131, 91)], ["pending", "firing", "resolved", "pending"]),
        ([(0, None)], ["no data"]),
        ([(0, 91), (30, None), (60, 91)], ["pending", "no data", "pending"]),
        ([(0, 91), (60, 91), (70, None), (80, 87)], ["pending", "firing", "no data", "firing"]),
        ([(0, 91), (60, 91), (70, None), (80, 5), (139, 5)], ["pending", "firing", "no data", "firing"]),
        ([(0, 50), (10, None), (20, 50)], ["ok", "no data", "ok"]),
    ],
)
def test_goes_through_the_states_as_the_rule_says(values: list[tuple[float, float | None]], states: list[str]) -> None:
    assert [str(state) for state in after(values)[1]] == states


def test_a_rule_without_for_fires_at_once_and_ends_at_once() -> None:
    assert after([(0, 1), (1, 0)], REFUSED)[1] == [AlertState.FIRING, AlertState.RESOLVED]


def test_a_rule_may_watch_for_too_little() -> None:
    rule = replace(DISK, name="workers_ready", metric="workers_ready", threshold=1, clear=1, over=False)
    assert after([(0, 1)], rule)[1] == [AlertState.OK]
    assert after([(0, 0), (60, 0), (61, 1), (121, 1)], rule)[1] == [
        AlertState.PENDING,
        AlertState.FIRING,
        AlertState.RESOLVED,
    ]


def test_what_is_resolved_is_shown_for_a_while_and_then_forgotten() -> None:
    long_ago = [(0, 1), (1, 0), (1 + SHOWN_RESOLVED_SECONDS, 0)]
    assert after(long_ago, REFUSED)[1] == [AlertState.FIRING, AlertState.RESOLVED, AlertState.OK]


def test_no_data_is_neither_ok_nor_resolved_and_told_when_it_lasts() -> None:
    alert, _ = after([(0, 50), (10, None), (20, None)])
    assert alert.state is AlertState.NO_DATA
    assert not alert.active(20)
    assert alert.active(10 + NO_DATA_SECONDS)
    fired, _ = after([(0, 91), (60, 91), (61, None)])
    assert fired.active(61)
    assert fired.fired == 60


def test_a_figure_that_cannot_be_known_yet_is_no_missing_one() -> None:
    """The load of the processors takes two measurements, which may be an hour apart."""
    busy, metric = HealthRule("cpu_used_percent", "cpu_used_percent", 90, 80, for_seconds=900), "cpu_used_percent"
    first = Figure(metric, None, "", "it takes two measurements", expected=True)
    alerts = evaluate({}, [busy], [first], [metric], 0)
    assert not any(alert.active(3600) for alert in alerts.values())
    alerts = evaluate(restore({f"{metric}:": -60.0}, [busy]), [busy], [first], [metric], 0)
    assert [alert.state for alert in alerts.values()] == [AlertState.FIRING]


def test_a_figure_nobody_mentions_is_no_data_for_a_measured_rule_and_fine_for_a_standing_one() -> None:
    alerts = evaluate({}, [DISK, REFUSED], [], ["disk_used_percent", "config_refused"], 0)
    assert {a.rule.name: a.state for a in alerts.values()} == {"disk_used_percent": AlertState.NO_DATA}


def test_metrics_that_were_not_looked_at_stay_as_they_are() -> None:
    before = evaluate({}, [REFUSED], [Figure("config_refused", 1)], ["config_refused"], 0)
    assert evaluate(before, [REFUSED], [], [], 5) == before


def test_a_subject_that_is_gone_ends_its_alert() -> None:
    rule = HealthRule("version_rejected", "version_rejected", 0, 0, standing=True)
    alerts = evaluate({}, [rule], [Figure(rule.metric, 1, "v1"), Figure(rule.metric, 1, "v2")], [rule.metric], 0)
    alerts = evaluate(alerts, [rule], [Figure(rule.metric, 1, "v2")], [rule.metric], 1)
    assert {a.subject: a.state for a in alerts.values()} == {"v1": AlertState.RESOLVED, "v2": AlertState.FIRING}
    alerts = evaluate(alerts, [rule], [], [rule.metric], 2 + SHOWN_RESOLVED_SECONDS)
    assert {a.subject: a.state for a in alerts.values()} == {"v2": AlertState.RESOLVED}


def test_a_mount_that_is_gone_ends_its_alert_but_no_mounts_at_all_are_no_data() -> None:
    rule = replace(DISK, for_seconds=0, keep_seconds=0)
    fires = [Figure(rule.metric, 95, "/"), Figure(rule.metric, 95, "/data")]
    alerts = evaluate({}, [rule], fires, [rule.metric], 0)
    assert evaluate(alerts, [rule], fires[:1], [rule.metric], 1)[f"{rule.name}:/data"].state is AlertState.RESOLVED
    assert evaluate(alerts, [rule], [], [rule.metric], 1)[f"{rule.name}:/data"].state is AlertState.NO_DATA


def test_a_removed_rule_ends_its_alerts() -> None:
    alerts = evaluate({}, [REFUSED], [Figure("config_refused", 1)], ["config_refused"], 0)
    alerts = evaluate(alerts, [DISK], [], [], 1)
    assert [(a.state, a.ended) for a in alerts.values()] == [(AlertState.RESOLVED, "its rule was removed")]
    assert evaluate(alerts, [DISK], [], [], 2 + SHOWN_RESOLVED_SECONDS) == {}


def test_a_changed_threshold_holds_for_an_alert_that_fires() -> None:
    alerts = evaluate({}, [replace(DISK, for_seconds=0)], [Figure(DISK.metric, 92)], [DISK.metric], 0)
    higher = replace(DISK, threshold=95, clear=93, keep_seconds=0)
    (alert,) = evaluate(alerts, [higher], [Figure(DISK.metric, 92)], [DISK.metric], 1).values()
    assert alert.state is AlertState.RESOLVED


def test_what_fired_before_a_restart_fires_until_a_look_says_otherwise_and_is_not_ended_while_held() -> None:
    alerts = restore({"disk_used_percent:/": -500.0, "unknown:x": 0.0}, [DISK])
    assert [a.state for a in alerts.values()] == [AlertState.FIRING]
    for now in (0, 30, 59):
        alerts = evaluate(alerts, [DISK], [Figure(DISK.metric, 20, "/")], [DISK.metric], now, hold=True)
        assert alerts["disk_used_percent:/"].state is AlertState.FIRING
    alerts = evaluate(alerts, [DISK], [Figure(DISK.metric, 20, "/")], [DISK.metric], 61)
    assert alerts["disk_used_percent:/"].state is AlertState.RESOLVED
    between = restore({"disk_used_percent:/": -5.0}, [DISK])
    between = evaluate(between, [DISK], [Figure(DISK.metric, 88, "/")], ["disk_used_percent"], 999)
    assert between["disk_used_percent:/"].since == -5.0


def test_what_began_in_this_life_ends_also_while_the_former_is_held() -> None:
    alerts = evaluate({}, [REFUSED], [Figure("config_refused", 1)], ["config_refused"], 0, hold=True)
    alerts = evaluate(alerts, [REFUSED], [], ["config_refused"], 1, hold=True)
    assert alerts["config_refused:"].state is AlertState.RESOLVED


def test_no_number_of_subjects_makes_it_grow_without_end() -> None:
    figures = [Figure("config_refused", 1, str(n)) for n in range(3 * MAX_ALERTS)]
    alerts = evaluate({}, [REFUSED], figures, ["config_refused"], 0)
    assert len(evaluate(alerts, [REFUSED], figures, ["config_refused"], 1)) == MAX_ALERTS


def test_says_when_time_alone_will_change_something() -> None:
    alerts = evaluate({}, [DISK], [Figure(DISK.metric, 95)], [DISK.metric], 10)
    assert due(alerts) == 70
    assert due({}) is None


@given(
    period=st.floats(5, 59.9),  # not below the time from one look to the next: it would not be seen to swing
    high=st.floats(90.1, 100),
    low=st.floats(0, 90),
    seconds=st.integers(600, 3600),
)
def test_a_figure_that_swings_fires_at_most_once_and_ends_at_most_once(
    period: float, high: float, low: float, seconds: int
) -> None:
    alerts: dict[str, Alert] = {}
    seen = []
    for at in range(0, seconds, 5):
        value = high if int(at / period) % 2 else low
        alerts = evaluate(alerts, [DISK], [Figure(DISK.metric, value)], [DISK.metric], float(at))
        seen.append(alerts[f"{DISK.name}:"].state)
    for at in range(seconds, seconds + 200, 5):  # and then it is calm
        alerts = evaluate(alerts, [DISK], [Figure(DISK.metric, 10.0)], [DISK.metric], float(at))
        seen.append(alerts[f"{DISK.name}:"].state)
    changes = [state for state, before in zip(seen, [None, *seen], strict=False) if state is not before]
    assert changes.count(AlertState.FIRING) <= 1
    assert changes.count(AlertState.RESOLVED) <= 1


@given(st.lists(st.tuples(st.floats(0.1, 90), st.sampled_from([None, 0.0, 84.0, 87.0, 90.5, 99.0])), max_size=60))
def test_fires_only_after_for_and_ends_only_after_being_back(steps: list[tuple[float, float | None]]) -> None:
    alerts: dict[str, Alert] = {}
    now, bad_since, good_since = 0.0, None, None
    fired = False
    for passed, value in steps:
        now += passed
        bad_since = (bad_since if bad_since is not None else now) if value is not None and value > 90 else None
        good_since = (good_since if good_since is not None else now) if value is not None and value <= 85 else None
        alerts = evaluate(alerts, [DISK], [Figure(DISK.metric, value)], [DISK.metric], now)
        state = alerts[f"{DISK.name}:"].state
        if state is AlertState.FIRING and not fired:
            assert bad_since is not None
            assert now - bad_since >= 60
        if fired and state not in (AlertState.FIRING, AlertState.NO_DATA):
            assert state is AlertState.RESOLVED
            assert good_since is not None
            assert now - good_since >= 60
        fired = state is AlertState.FIRING or (fired and state is AlertState.NO_DATA)


def test_every_built_in_rule_names_a_figure_that_exists_and_no_two_share_a_name() -> None:
    assert {rule.metric for rule in BUILT_IN} <= set(FIGURES)
    assert len({rule.name for rule in BUILT_IN}) == len(BUILT_IN)
    assert all(rule.cleared(rule.clear) and not rule.alarming(rule.threshold) for rule in BUILT_IN)


def test_the_operators_rule_takes_the_place_of_the_built_in_one() -> None:
    config = parse('monitor.alert = [{metric = "cpu_used_percent", above = 50, for = "1s"}]', "test")
    made = {rule.name: rule for rule in rules(config.monitor.alert)}
    assert (made["cpu_used_percent"].threshold, made["cpu_used_percent"].clear) == (50, 45)
    assert made["disk_used_percent"].for_seconds == 300
    assert len(made) == len(BUILT_IN)


def test_a_rule_for_too_many_leaves_the_one_for_too_few_in_place() -> None:
    config = parse('monitor.alert = [{metric = "workers_ready", above = 8}]', "test")
    made = [(rule.metric, rule.over) for rule in rules(config.monitor.alert) if rule.metric == "workers_ready"]
    assert made == [("workers_ready", True), ("workers_ready", False)]


def test_a_rule_for_too_few_takes_the_place_of_the_built_in_one() -> None:
    config = parse('monitor.alert = [{metric = "workers_ready", below = 2, for = 0}]', "test")
    (rule,) = [rule for rule in rules(config.monitor.alert) if rule.metric == "workers_ready"]
    assert (rule.name, rule.over, rule.threshold, rule.severity) == ("workers_ready", False, 2, "critical")
    assert after([(0, 1), (0, 2), (60, 2)], rule)[1] == [AlertState.FIRING, AlertState.RESOLVED]


def test_two_rules_on_one_figure_are_two_alerts() -> None:
    given = (AlertRule(above=80.0, clear=75.0), AlertRule(above=95.0, clear=90.0))
    names = [rule.name for rule in rules(given)]
    assert names[:2] == ["disk_used_percent>80", "disk_used_percent>95"]
    assert names.count("disk_used_percent") == 0
