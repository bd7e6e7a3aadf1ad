"""Which file is rotated, what its archive is called, which archives go."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.daemon.upkeep.clocks import NOON

from modelward.daemon.upkeep.logs.archive_pieces import past_keep
from modelward.daemon.upkeep.logs.rotation_policy import (
    Archive,
    Live,
    RotationPolicy,
    drops,
    is_leftover,
    next_stamp,
    oldest_to_spare,
    parse_archive,
    stamp_seconds,
    why_rotate,
)

DAY = 86400.0
TIMES = st.floats(0, 4e9)


def archive(number: int, *, size: int = 10, age: float = 0.0, live: str = "a.log") -> Archive:
    stamp = next_stamp(NOON + number, [])
    return Archive(f"{live}.{stamp}.gz", live, stamp, size, NOON - age)


def test_a_name_says_when_and_of_what() -> None:
    assert next_stamp(NOON, []) == "20260102T120000.000000Z"
    assert parse_archive("a.log.20260102T120000.000000Z.gz") == ("a.log", "20260102T120000.000000Z")
    assert parse_archive("a.log.1.gz") is None
    assert parse_archive("a.log") is None


@given(TIMES, st.lists(TIMES, max_size=5))
def test_a_name_is_never_used_twice_and_sorts_after_all_before_it(now: float, before: list[float]) -> None:
    used: list[str] = []
    for moment in [*before, now]:
        stamp = next_stamp(moment, used)
        assert all(stamp > other for other in used)
        used.append(stamp)


def test_the_clock_going_back_an_hour_overwrites_nothing_and_keeps_the_order() -> None:
    first = next_stamp(NOON, [])
    second = next_stamp(NOON - 3600, [first])
    assert second == "20260102T120000.000001Z" > first


@given(TIMES)
def test_a_stamp_can_be_read_back(now: float) -> None:
    assert abs(stamp_seconds(next_stamp(now, [])) - now) < 1e-5


@pytest.mark.parametrize(
    ("size", "began", "force", "rotate", "because"),
    [
        (0, 0.0, True, False, "empty"),
        (1, NOON, True, True, "asked for"),
        (999, NOON, False, False, "999B, nothing due"),
        (1000, NOON, False, True, "1000B, at most 1000B"),
        (1, NOON - 13 * 3600, False, True, "begun 13h ago, rotated every 1d"),
        (1, NOON - 11 * 3600, False, False, "1B, nothing due"),
        (1, NOON + 3600, False, False, "1B, nothing due"),
    ],
)
def test_rotates_by_size_and_by_day_and_never_an_empty_file(
    size: int, began: float, force: bool, rotate: bool, because: str
) -> None:
    policy = RotationPolicy(every_seconds=DAY, max_size_bytes=1000)
    assert why_rotate(Live("a.log", size, began), policy, NOON, force=force) == (rotate, because)


def test_without_limits_nothing_is_ever_due() -> None:
    assert not why_rotate(Live("a.log", 1 << 40, 0.0), RotationPolicy(), NOON)[0]


def test_no_clock_step_rotates_again_and_again() -> None:
    policy = RotationPolicy(every_seconds=DAY)
    began = NOON
    turns = 0
    for step in range(1000):
        now = NOON + (-1) ** step * 1800
        if why_rotate(Live("a.log", 1, began), policy, now)[0]:
            turns, began = turns + 1, now
    assert turns == 0


def test_archives_go_by_number_for_each_file_by_age_and_by_total_oldest_first() -> None:
    found = [archive(i) for i in range(5)] + [archive(i, live="b.log") for i in range(2)]
    extra = past_keep(found[:5], RotationPolicy(keep=3), {}) | past_keep(found[5:], RotationPolicy(keep=3), {})
    assert [d.name for d in drops(found, RotationPolicy(keep=3), NOON, surplus=extra)] == [
        archive(1).name,
        archive(0).name,
    ]
    old = [archive(0, age=40 * DAY), archive(1, age=20 * DAY)]
    assert [d.because for d in drops(old, RotationPolicy(max_age_seconds=30 * DAY), NOON)] == ["older than 30d"]
    total = drops([archive(i, size=100) for i in range(5)], RotationPolicy(max_total_bytes=350), NOON, live_bytes=100)
    assert [d.name for d in total] == [archive(0).name, archive(1).name, archive(2).name]


def test_of_a_thousand_archives_the_newest_stay_under_the_total() -> None:
    found = [archive(i, size=10) for i in range(1000)]
    gone = {d.name for d in drops(found, RotationPolicy(max_total_bytes=1000), NOON, live_bytes=55)}
    kept = [a for a in found if a.name not in gone]
    assert kept == found[-94:]


def test_an_archive_dated_in_the_future_is_not_older_than_anything() -> None:
    assert not drops([archive(0, age=-50 * 365 * DAY)], RotationPolicy(max_age_seconds=DAY), NOON)


@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(0, 1000), st.floats(0, 1e7)), max_size=30),
    st.integers(0, 5),
    st.integers(0, 2000),
)
def test_what_stays_is_always_newer_than_what_goes(facts: list[tuple[int, int, float]], keep: int, total: int) -> None:
    found = [archive(n * 100 + i, size=size) for i, (n, size, _) in enumerate(facts)]
    policy = RotationPolicy(keep=keep, max_total_bytes=total)
    gone = {d.name for d in drops(found, policy, NOON, surplus=past_keep(found, policy, {}))}
    kept = [a.stamp for a in found if a.name not in gone]
    lost = [a.stamp for a in found if a.name in gone]
    assert not kept or not lost or min(kept) > max(lost)
    assert not keep or len(kept) <= keep
    assert not total or sum(a.bytes for a in found if a.name not in gone) <= total


def test_for_a_full_disk_the_oldest_goes_but_never_the_newest_two() -> None:
    assert oldest_to_spare([archive(2), archive(1), archive(3)]) == archive(1)
    assert oldest_to_spare([archive(2), archive(1)]) is None


def test_for_a_full_disk_no_file_gives_up_its_newest_archive() -> None:
    just_rotated = [archive(7, live="access.log"), archive(8, live="error.log"), archive(9, live="modelward.log")]
    assert oldest_to_spare(just_rotated) is None
    assert oldest_to_spare([*just_rotated, archive(5, live="modelward.log")]) == archive(5, live="modelward.log")


def test_only_what_we_leave_half_written_counts_as_left_over() -> None:
    assert is_leftover("a.log.20260102T120000.000000Z.gz.part")
    assert is_leftover("a.log.20260102T120000.000000Z.head", ".head")
    assert not is_leftover("upload.part")
    assert not is_leftover("a.log.20260102T120000.000000Z.gz")
