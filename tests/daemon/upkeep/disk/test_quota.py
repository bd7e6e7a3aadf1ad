"""The sweep's plan: what goes, in which order, and what is never chosen."""

from __future__ import annotations

import sys
import tracemalloc
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.daemon.upkeep.clocks import NOON

from modelward.daemon.upkeep.disk import reasons
from modelward.daemon.upkeep.disk.file_table import FileTable
from modelward.daemon.upkeep.disk.quota import (
    Ages,
    ClassRule,
    Cut,
    DiskSpace,
    Margin,
    below_free,
    blocked_by,
    by_age,
    over_quota,
    shortfall,
    unit_by_age,
    wanted,
)

DAY = 86400.0
RULE = ClassRule("uploads", "/x/y", max_age_seconds=DAY)
AGES = Ages.of(RULE, now=NOON, min_age_seconds=600, device=1)


@dataclass
class Facts:
    """What stat says, as far as it is judged."""

    st_mtime: float = NOON - 2 * DAY
    st_ctime: float = NOON - 2 * DAY
    st_mode: int = 0o100644
    st_nlink: int = 1
    st_dev: int = 1


def code(facts: Facts, ages: Ages = AGES) -> int:
    return by_age([facts], ages)[0][0]


def test_the_later_of_change_and_modification_is_the_age() -> None:
    assert code(Facts()) == reasons.OLDER
    assert code(Facts(st_ctime=NOON - 700)) == reasons.WITHIN
    assert code(Facts(st_ctime=NOON - 500)) == reasons.YOUNG
    assert code(Facts(st_mtime=NOON - 500)) == reasons.YOUNG
    assert code(Facts(st_mtime=0.0)) == reasons.OLDER


def test_the_future_counts_as_new() -> None:
    assert code(Facts(st_mtime=NOON + 70 * 365 * DAY)) == reasons.FUTURE
    assert code(Facts(st_mtime=NOON + 60)) == reasons.YOUNG


@pytest.mark.parametrize("kind", [0o120777, 0o010644, 0o140755])
def test_links_pipes_and_sockets_go_by_their_age_like_files(kind: int) -> None:
    assert code(Facts(st_mode=kind)) == reasons.OLDER
    assert code(Facts(NOON - 500, NOON - 500, kind)) == reasons.YOUNG
    assert code(Facts(st_mode=kind, st_nlink=2)) == reasons.HARD_LINKED


def test_only_what_has_one_name_on_this_device_without_sticky_bit_and_is_no_device_is_taken() -> None:
    for kind in (0o060644, 0o020644):
        assert code(Facts(st_mode=kind)) == reasons.DEVICE
    assert code(Facts(st_nlink=2)) == reasons.HARD_LINKED
    assert code(Facts(st_dev=2)) == reasons.ELSEWHERE
    assert code(Facts(st_mode=0o101644)) == reasons.STICKY


def test_the_minimum_age_wins_over_a_shorter_maximum() -> None:
    ages = Ages.of(ClassRule("tmp", "/x/y", max_age_seconds=1), now=NOON, min_age_seconds=600, device=1)
    assert code(Facts(NOON - 599, NOON - 599), ages) == reasons.YOUNG
    assert code(Facts(NOON - 601, NOON - 601), ages) == reasons.OLDER


def test_without_a_maximum_nothing_is_ever_too_old() -> None:
    assert (
        code(Facts(0.0, 0.0), Ages.of(ClassRule("x", "/x/y"), now=NOON, min_age_seconds=0, device=1)) == reasons.WITHIN
    )


def test_a_unit_is_judged_by_the_youngest_thing_in_it() -> None:
    assert unit_by_age(NOON - 2 * DAY, AGES) == reasons.OLDER
    assert unit_by_age(NOON - 10, AGES) == reasons.YOUNG


def table_of(rows: list[tuple[int, float, int]]) -> FileTable:
    found = FileTable("/x/y", 1)
    found.add_place(-1, "", 1)
    for i, (used, age, what) in enumerate(rows):
        found.add(0, f"f{i}", i, used, NOON - age, what)
    return found


CODES = st.sampled_from([reasons.WITHIN, reasons.WITHIN, reasons.YOUNG, reasons.IN_USE, reasons.KEPT, reasons.REMOVED])
ROWS = st.lists(st.tuples(st.integers(0, 100), st.floats(0, 1e6), CODES), max_size=40)


def chosen(cuts: list[Cut]) -> list[int]:
    return [row for cut in cuts for row in cut.rows]


@given(ROWS, st.integers(0, 2000), st.integers(0, 30))
def test_a_quota_takes_the_oldest_that_may_go_no_more_than_needed_and_says_what_is_missing(
    rows: list[tuple[int, float, int]], max_bytes: int, max_files: int
) -> None:
    rows = [(0 if what == reasons.REMOVED else used, age, what) for used, age, what in rows]
    table = table_of(rows)
    cuts = over_quota(table, ClassRule("u", "/x/y", max_bytes=max_bytes, max_files=max_files))
    gone = chosen(cuts)
    assert len(set(gone)) == len(gone)
    assert all(table.codes[row] == reasons.WITHIN for row in gone)
    stays = [row for row in range(len(rows)) if table.codes[row] == reasons.WITHIN and row not in set(gone)]
    for cut in cuts:  # an entry that takes no bytes may stay where bytes are needed
        older = [row for row in stays if cut.code != reasons.OVER_BYTES or table.bytes[row]]
        assert (
            not cut.rows or not older or max(table.stamps[r] for r in cut.rows) <= min(table.stamps[r] for r in older)
        )
    left_bytes = sum(table.bytes) - sum(table.bytes[row] for row in gone)
    left_files = len(rows) - table.codes.count(reasons.REMOVED) - len(gone)
    missing_bytes = max([c.missing_bytes for c in cuts], default=0)
    missing_files = max([c.missing_files for c in cuts], default=0)
    assert not max_bytes or left_bytes <= max_bytes or missing_bytes > 0
    assert not max_files or left_files <= max_files or missing_files > 0
    if stays:
        assert missing_bytes == missing_files == 0


def test_a_limit_of_files_takes_an_older_empty_file_before_a_younger_full_one() -> None:
    table = table_of([(0, 9.0, reasons.WITHIN), (10, 8.0, reasons.WITHIN), (10, 7.0, reasons.WITHIN)])
    cuts = over_quota(table, ClassRule("u", "/x/y", max_bytes=10, max_files=1))
    assert chosen(cuts) == [1, 0]


@given(st.lists(ROWS, min_size=1, max_size=3), st.integers(0, 3000), st.integers(0, 50))
def test_a_low_disk_takes_from_the_first_class_before_the_next(
    classes: list[list[tuple[int, float, int]]], want_bytes: int, want_inodes: int
) -> None:
    tables = [table_of(rows) for rows in classes]
    cuts = below_free(tables, want_bytes=want_bytes, want_inodes=want_inodes)
    assert len(cuts) == len(tables)
    for table, cut, later in zip(tables, cuts, [*cuts[1:], Cut((), 0)], strict=True):
        may_go = table.codes.count(reasons.WITHIN)
        assert not later.rows or len(cut.rows) == may_go, "a class is used up before the next one is touched"
    freed = sum(t.bytes[row] for t, cut in zip(tables, cuts, strict=True) for row in cut.rows)
    assert cuts[-1].missing_bytes == max(0, want_bytes - freed)
    if not want_bytes and not want_inodes:
        assert not chosen(cuts)


def test_free_space_is_wanted_up_to_the_target_only_below_the_floor() -> None:
    margins = {"min_free": Margin(fraction=0.10), "target_free": Margin(fraction=0.15)}
    assert wanted(DiskSpace(1000, 100), **margins) == (0, 0)
    assert wanted(DiskSpace(1000, 99), **margins) == (51, 0)
    assert wanted(DiskSpace(1000, 500, 1000, 99), **margins) == (0, 51)
    assert wanted(DiskSpace(1000, 99), min_free=Margin(100), target_free=Margin(50)) == (1, 0)
    assert wanted(DiskSpace(1000, 0), min_free=Margin(), target_free=Margin()) == (0, 0)
    assert wanted(DiskSpace(1000, 99, 0, 0), **margins) == (51, 0), "file systems without a number of inodes"


def test_a_shortfall_names_what_blocks_the_most_first() -> None:
    table = table_of([(10, 0, reasons.YOUNG), (500, 0, reasons.IN_USE), (3, 0, reasons.WITHIN)])
    assert list(blocked_by([table]).items()) == [(reasons.IN_USE, (1, 500)), (reasons.YOUNG, (1, 10))]
    said = shortfall("x under 1B", missing_bytes=510, missing_inodes=0, freed_bytes=3, blocked={1: "in use 500B (1)"})
    assert said == "cannot bring x under 1B: 510B too much is left; freed 3B; blocked by: in use 500B (1)"


def test_every_code_has_its_sentence() -> None:
    codes = {value for name, value in vars(reasons).items() if name.isupper() and isinstance(value, int)}
    limits = {"max_age_seconds": 1.0, "max_bytes": 1, "max_files": 1, "min_age_seconds": 1.0}
    sentences = {reasons.sentence(code, "x", **limits) for code in codes}  # type: ignore[arg-type]
    assert len(sentences) == len(codes)


def test_planning_takes_at_most_300_bytes_an_entry() -> None:
    entries = 30_000
    tracemalloc.start()
    table = FileTable("/x/y", 1)
    table.add_place(-1, "", 1)
    for start in range(0, entries, 512):
        stop = min(entries, start + 512)
        names = [f"upload-{i:012d}.wav" for i in range(start, stop)]
        stamps = [NOON - (i * 7919 % entries) - 1000 for i in range(start, stop)]
        count = len(names)
        table.extend(0, names, list(range(start, stop)), [4096] * count, stamps, [reasons.WITHIN] * count)
    cuts = over_quota(table, ClassRule("u", "/x/y", max_bytes=4096 * entries // 2, max_files=entries // 3))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(chosen(cuts)) == entries - entries // 3
    assert peak / entries <= 300, f"{peak / entries:.0f} bytes an entry"
    assert sys.getsizeof(table.codes) / entries < 2
