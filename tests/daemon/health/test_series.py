"""The rings of the charts: what they keep, and for how long."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from modelward.daemon.health.series import MAX_POINTS, SPANS, Ring, Series


def test_the_last_hour_is_kept_and_no_more() -> None:
    ring = Ring(["a", "b"], 10.0)
    for n in range(1000):
        ring.add(n * 10.0, {"a": float(n), "other": 1.0})
    shown = ring.answer()
    assert len(shown.times) == 360
    assert shown.times[0] == "1970-01-01T01:46:40.000Z"
    assert shown.series["a"][-1] == 999
    assert set(shown.series["b"]) == {None}


def test_after_a_pause_what_is_older_than_the_span_is_not_shown() -> None:
    ring = Ring(["a"], 10.0)
    for wall in (0.0, 10.0, 3605.0):
        ring.add(wall, {"a": wall})
    assert ring.answer().series["a"] == [10.0, 3605.0]


def test_a_clock_that_is_set_back_drops_the_rows_of_the_wrong_one() -> None:
    ring = Ring(["a"], 10.0)
    for wall in (10.0, 20.0, 1e9, 1e9 + 10, 30.0):
        ring.add(wall, {"a": wall})
    assert ring.answer().series["a"] == [10.0, 20.0, 30.0]


@given(
    st.lists(st.floats(0, 100, width=32), max_size=50),
    st.sampled_from([60.0, 100.0, 900.0, 3600.0]),
    st.sampled_from([1.0, 100.0, 1800.0]),
)
def test_another_interval_keeps_the_newest_rows(values: list[float], before: float, after: float) -> None:
    ring = Ring(["a"], before)
    for at, given_value in enumerate(values):
        ring.add(float(at), {"a": given_value})
    kept = ring.answer().series["a"]
    assert kept == [round(v, 4) for v in values[-int(3600 / before) :]]
    other = ring.with_interval(after).answer()
    assert other.interval_seconds == after
    assert other.series["a"] == kept[-int(3600 / after) :]


def test_a_day_has_the_means_of_its_minutes_and_a_week_those_of_ten() -> None:
    series = Series(["a", "b"], 10.0)
    for n in range(121):
        series.add(n * 10.0, {"a": float(n), "b": None if n < 60 else 1.0})
    day, week = series.answer("24h"), series.answer("7d")
    assert day.series["a"][:2] == [2.5, 8.5] and len(day.times) == 20
    assert day.series["b"] == [None] * 10 + [1.0] * 10
    assert week.series == {"a": [29.5, 89.5], "b": [None, 1.0]}
    assert [series.answer(s).interval_seconds for s in SPANS] == [10.0, 60.0, 600.0]


def test_no_span_grows_without_bound_at_any_interval() -> None:
    for interval in (0.001, 1.0, 86400.0, 1e7):
        series = Series(["a"], interval)
        for n in range(20):
            series.add(n * interval, {"a": 1.0})
        for span, (seconds, _) in SPANS.items():
            assert len(series.answer(span).times) <= min(MAX_POINTS, max(1.0, seconds / interval)), (interval, span)


def test_what_a_former_daemon_measured_comes_before_what_is_there() -> None:
    former, series = Series(["a", "gone"], 10.0), Series(["a", "new"], 5.0)
    for wall in (100.0, 110.0, 5000.0, 8000.0):
        former.add(wall, {"a": wall, "gone": 1.0})
    series.add(5010.0, {"a": 5010.0, "new": 2.0})
    series.take_up(former.record(), 5020.0)
    assert series.answer("1h").series == {"a": [5000.0, 5010.0], "new": [None, 2.0]}
    assert series.answer("24h").series == {"a": [105.0, 5000.0], "new": [None, None]}


def test_what_was_measured_before_the_clock_was_set_costs_no_row_of_a_former_daemon() -> None:
    former, series = Series(["a"], 10.0), Series(["a"], 10.0)
    for wall in (5000.0, 8000.0, 8030.0):
        former.add(wall, {"a": wall})
    series.add(10.0, {"a": 0.0})  # 1970
    series.take_up(former.record(), 8040.0)
    series.add(8050.0, {"a": 1.0})
    series.add(8110.0, {"a": 1.0})
    assert series.answer("1h").series["a"] == [5000.0, 8000.0, 8030.0, 1.0, 1.0]
    assert series.answer("24h").series["a"] == [5000.0, 1.0]
