"""A rotation by hand costs no line that `keep` would have kept without it."""

from __future__ import annotations

import gzip
import os
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.daemon.upkeep.clocks import NOON, HandClock

from modelward.daemon.upkeep.fs_port import FileSystemPort
from modelward.daemon.upkeep.logs.archive_pieces import MAX_PIECES, past_keep
from modelward.daemon.upkeep.logs.compress import length
from modelward.daemon.upkeep.logs.rotation_outcome import LogSet
from modelward.daemon.upkeep.logs.rotation_policy import Archive, RotationPolicy, next_stamp
from modelward.daemon.upkeep.logs.rotator import Rotator

DAY = 86_400.0
DAILY = RotationPolicy(every_seconds=DAY, max_size_bytes=1000, keep=3)


def archive(moment: float) -> Archive:
    stamp = next_stamp(NOON + moment, [])
    return Archive(f"a.log.{stamp}.gz", "a.log", stamp, 10, NOON + moment - 1)


def kept(moments: list[float], policy: RotationPolicy, lengths: list[int] | None = None) -> list[float]:
    found = [archive(moment) for moment in moments]
    sizes = {a.name: n for a, n in zip(found, lengths or [10] * len(found), strict=True)}
    gone = past_keep(found, policy, sizes)
    return [moment for moment, a in zip(moments, found, strict=True) if a.name not in gone]


def test_pieces_of_one_day_count_once_and_days_count_each() -> None:
    by_hand = [float(n) for n in range(35)]
    assert kept([-2 * DAY, -DAY, *by_hand], DAILY) == [-2 * DAY, -DAY, *by_hand]
    assert kept([-3 * DAY, -2 * DAY, -DAY, *by_hand], DAILY) == [-2 * DAY, -DAY, *by_hand]


def test_what_was_rotated_for_its_size_counts_each() -> None:
    assert kept([1.0, 2.0, 3.0, 4.0], DAILY, [1000] * 4) == [2.0, 3.0, 4.0]
    assert kept([1.0, 2.0, 3.0, 4.0], DAILY, [1000, 500, 500, 1000]) == [2.0, 3.0, 4.0]
    assert kept([1.0, 2.0, 3.0, 4.0], DAILY, [1000, 400, 500, 1000]) == [1.0, 2.0, 3.0, 4.0]


def test_where_nothing_is_ever_due_each_rotation_by_hand_counts() -> None:
    assert kept([1.0, 2.0, 3.0, 4.0], RotationPolicy(keep=3)) == [2.0, 3.0, 4.0]


@given(st.lists(st.integers(0, 9 * 24), min_size=1, max_size=60), st.integers(1, 5))
def test_no_rotation_by_hand_takes_a_day_that_would_have_stayed(hours: list[int], keep: int) -> None:
    """Beside one archive a day on time, whenever and however often somebody rotates by hand."""
    policy = RotationPolicy(every_seconds=DAY, keep=keep)
    days = [day * DAY for day in range(10)]
    on_time = kept(days, policy)
    by_hand = sorted({float(hour * 3600 + 60) for hour in hours})
    left = kept(sorted({*days, *by_hand}), policy)
    assert set(on_time) <= set(left)
    first = min(on_time) - DAY
    assert all(moment in left for moment in by_hand if moment > first + DAY)


@pytest.mark.parametrize("compress", ["none", "gzip", "zstd"])
def test_rotations_by_hand_erase_no_line_and_have_a_limit(tmp_path: Path, compress: str) -> None:
    logs = tmp_path / "logs"
    logs.mkdir(mode=0o750)
    policy = RotationPolicy(every_seconds=DAY, max_size_bytes=100 << 20, keep=30, compress=compress)
    rotator, clock = _rotator()
    sets = [LogSet(str(logs), ("a.log",), policy, own=True)]
    for number in range(MAX_PIECES + 5):
        with open(logs / "a.log", "a", encoding="utf-8") as file:
            file.write(f"line {number}\n")
        os.utime(logs / "a.log", (clock.wall(), clock.wall()))
        rotator.rotate(sets, force=number < 35 or number > 40)
        rotator.compress(sets, reopened=True)
        clock.advance(1)
    found = sum(_lines(path) for path in logs.iterdir())
    assert found == MAX_PIECES + 5
    assert len(list(logs.iterdir())) <= MAX_PIECES + 1


def test_an_archive_says_how_long_its_lines_are(tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(gzip.compress(b"x" * 70_000))
    (tmp_path / "b").write_bytes(b"x" * 5)
    (tmp_path / "c.gz").write_bytes(b"no")
    (tmp_path / "d.zst").write_bytes(b"nothing of the kind")
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        found = [length(fd, name, FileSystemPort()) for name in ("a.gz", "b", "c.gz", "d.zst", "e")]
    finally:
        os.close(fd)
    assert found == [70_000, 5, None, None, None]


def _rotator() -> tuple[Rotator, HandClock]:
    clock = HandClock()
    return Rotator(FileSystemPort(), clock, threading.Event()), clock


def _lines(path: Path) -> int:
    data = path.read_bytes()
    if path.suffix == ".gz":
        data = gzip.decompress(data)
    if path.suffix == ".zst":
        data = pytest.importorskip("zstandard").ZstdDecompressor().decompress(data)
    return data.count(b"\n")
