"""When a version is complete enough to be judged."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from modelward.daemon.models.catalog import Catalog
from modelward.daemon.models.settle import (
    Ready,
    Unfit,
    WaitUntil,
    judge_now,
    proves_itself,
    quiet_at,
)
from modelward.daemon.models.snapshot import Missing, RootSeen, VersionSeen

PLAIN = VersionSeen("v1", "f", bytes=10, files=2, writing=False)


def test_a_plain_copy_waits_for_the_quiet_time() -> None:
    assert judge_now(PLAIN, 100.0, 103.0, 104.0, 2.0) == WaitUntil(105.0, "it may still be being copied")
    assert isinstance(judge_now(PLAIN, 100.0, 103.0, 105.0, 2.0), Ready)


def test_a_version_renamed_into_place_is_judged_at_once() -> None:
    assert isinstance(judge_now(replace(PLAIN, renamed_in=True), 100.0, 100.0, 100.0, 2.0), Ready)


def test_a_version_with_complete_checksums_is_judged_at_once() -> None:
    marked = replace(PLAIN, has_sums=True, sums_complete=True)
    assert isinstance(judge_now(marked, 100.0, 100.0, 100.0, 2.0), Ready)


def test_checksums_alone_hurry_nobody_when_the_system_cannot_tell_who_writes() -> None:
    marked = replace(PLAIN, has_sums=True, sums_complete=True, writing=None)
    assert isinstance(judge_now(marked, 100.0, 100.0, 100.0, 2.0), WaitUntil)
    assert isinstance(judge_now(marked, 100.0, 100.0, 102.0, 2.0), Ready)


def test_an_unreadable_version_has_the_quiet_time_and_is_no_candidate_then() -> None:
    closed = replace(PLAIN, error="cannot read it: Permission denied")
    assert judge_now(closed, 100.0, 103.0, 104.0, 2.0) == WaitUntil(105.0, "cannot read it: Permission denied")
    assert judge_now(closed, 100.0, 103.0, 105.0, 2.0) == Unfit("cannot read it: Permission denied")
    assert judge_now(replace(closed, passing=True), 0.0, 0.0, 1e6, 2.0) == Unfit(closed.error, passing=True)


@given(st.booleans(), st.booleans(), st.floats(0, 1e6))
def test_nothing_is_judged_while_a_file_is_open_for_writing(renamed: bool, sums: bool, quiet: float) -> None:
    seen = replace(PLAIN, writing=True, renamed_in=renamed, has_sums=sums, sums_complete=sums)
    answer = judge_now(seen, 0.0, 0.0, quiet, 2.0)
    assert isinstance(answer, WaitUntil)
    assert answer.until > quiet


@given(st.floats(0, 100), st.floats(0, 100), st.floats(0, 100), st.floats(0, 10))
def test_waiting_until_told_is_enough(first: float, changed: float, later: float, settle: float) -> None:
    now = max(first, changed) + later
    answer = judge_now(PLAIN, first, changed, now, settle)
    if isinstance(answer, WaitUntil):
        assert isinstance(judge_now(PLAIN, first, changed, answer.until + 1e-6, settle), Ready)


def test_a_version_held_open_without_being_written_is_looked_at_less_and_less_often() -> None:
    held = replace(PLAIN, writing=True)
    waits = [
        answer.until - now
        for now in (0.0, 5.0, 30.0, 600.0)
        if isinstance(answer := judge_now(held, 0, 0, now, 2), WaitUntil)
    ]
    assert waits == [0.5, 0.5, 3.0, 5.0]


def test_a_version_that_shows_that_more_is_to_come_has_a_longer_quiet_time() -> None:
    growing = replace(PLAIN, arriving="it holds no files yet")
    assert judge_now(growing, 0.0, 10.0, 69.0, 2.0, 60.0) == WaitUntil(70.0, "still arriving: it holds no files yet")
    assert isinstance(judge_now(growing, 0.0, 10.0, 70.0, 2.0, 60.0), Ready)
    assert isinstance(judge_now(growing, 0.0, 10.0, 12.0, 2.0), Ready), "a command asks for it as it is"
    assert isinstance(judge_now(replace(growing, renamed_in=True), 0.0, 10.0, 10.0, 2.0, 60.0), Ready)
    assert proves_itself(replace(PLAIN, renamed_in=True)) and not proves_itself(growing)
    assert proves_itself(replace(PLAIN, sums_complete=True))


def test_a_version_that_never_comes_to_rest_is_judged_all_the_same() -> None:
    """A log in it is written every thirty seconds for an hour, then there is a day's rest, then a copy over it."""
    catalog, ready = Catalog(), []
    growing = replace(PLAIN, arriving="log.tmp is the name of an unfinished copy")
    for now in (*range(0, 3600, 5), 90_000, 90_005):
        seen = replace(growing, fingerprint=f"{now // 30}")
        catalog.update(RootSeen((1, 1), Missing(), (seen,)), float(now), 0.0, 60.0)
        ready += [float(now) for _ in catalog.candidates(float(now), 2.0, 60.0)]
        entry = catalog.get("v1")
        assert entry is not None
        at_rest = quiet_at(entry.changed, entry.restless_since, 60.0)
        assert at_rest == (min(now // 30 * 30 + 60, 600) if now < 90_000 else 90_060)
    assert min(ready) == 605.0 and max(ready) < 3600
