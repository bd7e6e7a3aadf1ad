"""What retention may remove."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from modelward.daemon.models.retention import (
    DAY_SECONDS,
    Kept,
    plan,
    reasons,
)

NOW = 1e9
OLD = NOW - 10 * DAY_SECONDS


def names(*numbers: int, newest: float = OLD) -> list[Kept]:
    return [Kept(f"v1.{n}", 100, newest) for n in numbers]


def test_keeps_the_highest_besides_the_protected_ones() -> None:
    removals = plan(names(*range(1, 8)), 3, {"v1.7", "v1.1"}, NOW)
    assert [r.name for r in removals] == ["v1.2", "v1.3"]
    assert removals[0].because == "beyond keep=3, unused for 10.0 days"


def test_keeps_what_is_younger_than_a_day() -> None:
    assert plan(names(1, 2, 3, newest=NOW - DAY_SECONDS + 1), 0, (), NOW) == ()
    assert plan(names(1, newest=NOW + 5), 0, (), NOW) == ()


def test_keeps_what_is_being_copied_or_judged() -> None:
    assert plan([Kept("v1", 1, OLD, busy=True)], 0, (), NOW) == ()


@given(
    st.sets(st.integers(0, 30)),
    st.integers(0, 5),
    st.sets(st.integers(0, 30)),
    st.dictionaries(st.integers(0, 30), st.floats(0, 3 * DAY_SECONDS)),
)
def test_never_removes_protected_or_young_versions_and_settles(
    present: set[int], keep: int, protected: set[int], ages: dict[int, float]
) -> None:
    versions = [Kept(f"v{n}", 1, NOW - ages.get(n, 0.0)) for n in present]
    shielded = {f"v{n}" for n in protected}
    removals = {r.name for r in plan(versions, keep, shielded, NOW)}
    assert not removals & shielded
    assert all(NOW - v.newest_seconds >= DAY_SECONDS for v in versions if v.name in removals)
    left = [v for v in versions if v.name not in removals]
    assert len([v for v in left if v.name not in shielded]) >= min(keep, len({v.name for v in versions} - shielded))
    assert plan(left, keep, shielded, NOW) == ()


def test_says_of_every_version_why_it_stays() -> None:
    day = 86_400.0
    old = [Kept(f"m-v1.{i}", 10, 0.0) for i in range(5)]
    young = Kept("m-v0.1", 10, 9.5 * day)
    busy = Kept("m-v2.0", 10, 0.0, busy=True)
    said = reasons([*old, young, busy], 2, {"m-v1.1": "in use"}, 10 * day)
    assert said == {
        "m-v1.0": "",
        "m-v1.1": "in use",
        "m-v1.2": "",
        "m-v1.3": "among the 2 newest besides those in use (models.keep)",
        "m-v1.4": "among the 2 newest besides those in use (models.keep)",
        "m-v0.1": "younger than 1 d",
        "m-v2.0": "still being copied or judged",
    }
