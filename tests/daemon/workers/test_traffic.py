"""What workers report is added up by version and worker, within bounds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.daemon.workers.traffic import MAX_PAIRS, MAX_VERSIONS, AnswerCounts, Traffic
from modelward.worker.protocol import BUCKETS_SECONDS, Beat, Durations

BOUNDS = len(BUCKETS_SECONDS) + 1


def beat(requests: int, errors: int = 0, *durations: int) -> Beat:
    return Beat(requests=requests, errors=errors, durations=Durations(list(durations), float(sum(durations))))


def test_what_comes_between_two_reports_belongs_to_the_version_that_answered() -> None:
    traffic = Traffic(0.0)
    traffic.add("w1", 7, "", beat(0))
    traffic.add("w1", 7, "v1", beat(10, 1, 0, 9))
    traffic.add("w1", 7, "v1", beat(12, 1, 2, 9))
    traffic.add("w1", 7, "v2", beat(15, 2, 2, 9, 3))
    assert {pair: (a.requests, a.errors, a.counted) for pair, a in traffic.pairs.items()} == {
        ("w1", "v1"): (12, 1, 11),
        ("w1", "v2"): (3, 1, 3),
    }
    assert traffic.versions["v1"].buckets[:3] == (2, 9, 0)


def test_a_new_process_begins_anew_and_what_it_did_before_it_was_known_is_not_counted() -> None:
    traffic = Traffic(0.0)
    traffic.add("w1", 7, "v1", beat(1000, 500, 9))
    traffic.add("w1", 7, "v1", beat(1001, 500, 9))
    traffic.add("w1", 8, "v1", beat(0))
    traffic.add("w1", 8, "v1", beat(4))
    assert (traffic.versions["v1"].requests, traffic.versions["v1"].errors) == (5, 0)


def test_a_worker_that_reports_no_durations_is_counted_without_them() -> None:
    traffic = Traffic(0.0)
    for requests in (0, 5):
        traffic.add("mine", 9, "v1", Beat(requests=requests))
    assert traffic.versions["v1"] == AnswerCounts(requests=5) and traffic.versions["v1"].quantile(0.95) is None


def test_no_table_grows_without_bound_and_the_newest_stays() -> None:
    traffic = Traffic(0.0)
    for n in range(1000):
        for requests in (0, 1):
            traffic.add(f"w{n}", n, f"v{n}", beat(requests))
        traffic.add("w", 5000, "live", beat(n))
    assert len(traffic.pairs) == MAX_PAIRS and len(traffic.versions) == MAX_VERSIONS
    assert traffic.versions["live"].requests == 999 and len(traffic._last) == MAX_PAIRS


@pytest.mark.parametrize(
    ("buckets", "p50", "p95"),
    [
        ((100,), 0.0025, 0.00475),
        ((0, 0, 0, 0, 50, 50), 0.1, 0.235),
        ((0,) * 13 + (5,), 60.0, 60.0),
    ],
)
def test_a_quantile_lies_between_the_bounds_by_number(buckets: tuple[int, ...], p50: float, p95: float) -> None:
    answers = AnswerCounts(buckets=(*buckets, *(0,) * BOUNDS)[:BOUNDS])
    assert answers.quantile(0.5) == pytest.approx(p50) and answers.quantile(0.95) == pytest.approx(p95)


@given(st.lists(st.builds(beat, st.integers(0, 2**53), st.integers(0, 2**53), st.integers(0, 2**53)), max_size=8))
def test_counts_never_go_back_whatever_a_worker_reports(beats: list[Beat]) -> None:
    traffic, before = Traffic(0.0), AnswerCounts()
    for report in beats:
        traffic.add("w", 1, "v", report)
        after = traffic.versions.get("v", AnswerCounts())
        assert after.since(before).plus(before) == after or after.seconds == pytest.approx(
            after.since(before).plus(before).seconds
        )
        before = after


def test_what_a_former_daemon_counted_is_added_to_the_versions_alone() -> None:
    traffic = Traffic(0.0)
    traffic.take_up({"v1": AnswerCounts(requests=3, errors=1)}, -9.0)
    for requests in (0, 2):
        traffic.add("w", 1, "v1", beat(requests))
    assert (traffic.versions["v1"].requests, traffic.pairs["w", "v1"].requests) == (5, 2)
    assert traffic.began == -9.0
    with pytest.raises(ValueError, match="bounds"):
        traffic.take_up({"v1": AnswerCounts(buckets=(1, 2))}, 0.0)
