"""Sizes, durations and shares are read as people write them, and a doubtful one is refused with the right spelling."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.daemon.units import (
    MAX_BYTES,
    DiskShare,
    describe,
    parse_duration,
    parse_share,
    parse_size,
    show_duration,
    show_size,
)


@pytest.mark.parametrize(
    ("written", "size_bytes"),
    [
        (0, 0), ("0", 0), (1048576, 1048576), ("512MiB", 512 << 20), ("5GB", 5_000_000_000), ("1.5 KiB", 1536),
        ("2tib", 2 << 40), ("100B", 100), ("12", 12), (str(MAX_BYTES), MAX_BYTES),
    ],
)  # fmt: skip
def test_reads_sizes(written: object, size_bytes: int) -> None:
    assert parse_size(written) == size_bytes


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("5G", "write 5GiB (1024s) or 5GB (1000s)"), ("5 parsecs", "unknown unit"), ("-1", "no size"),
        (-1, "out of range"), (True, "true is no size"), (1.5, "no size"), ("", "no size"), ("9" * 100, "no size"),
        ("99999999999TiB", "out of range"), (None, "no size"), ([], "a list"), ("٣MiB", "no size"),
        (1 << 4000, "very large"),
    ],
)  # fmt: skip
def test_refuses_sizes_and_says_what_would_be_right(written: object, says: str) -> None:
    with pytest.raises(ValueError, match=".") as refused:
        parse_size(written)
    assert says in str(refused.value)


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        (0, 0.0), ("0", 0.0), (90, 90.0), (0.25, 0.25), ("500ms", 0.5), ("2s", 2.0), ("1h30m", 5400.0), 
        ("7d", 604800.0),
        ("1d 2h 3m 4s 5ms", 93784.005), ("10min", 600.0), ("1.5h", 5400.0), ("2W", 1209600.0), ("30", 30.0),
    ],
)  # fmt: skip
def test_reads_durations(written: object, seconds: float) -> None:
    assert parse_duration(written) == seconds


@pytest.mark.parametrize(
    "written",
    [
        "",
        "1x",
        "s",
        "m5",
        "30m1h",
        "1h1h",
        "-5s",
        -5,
        True,
        float("nan"),
        float("inf"),
        None,
        {},
        "1" * 80,
        "1h30",
        10**400,
    ],
)
def test_refuses_durations(written: object) -> None:
    with pytest.raises(ValueError, match="; "):
        parse_duration(written)


def test_reads_shares_of_a_file_system() -> None:
    assert parse_share("10%") == DiskShare(percent=10)
    assert parse_share("10%").of(1000) == 100
    assert parse_share("5GiB").of(1000) == 5 << 30
    for wrong in ("101%", "-1%", "%", "x%"):
        with pytest.raises(ValueError, match="no share"):
            parse_share(wrong)


@given(st.integers(0, MAX_BYTES))
def test_reads_back_every_size_it_shows(size_bytes: int) -> None:
    assert parse_size(show_size(size_bytes)) == pytest.approx(size_bytes, rel=1e-15)


@given(st.integers(0, 10**11))
def test_reads_back_every_duration_it_shows(milliseconds: int) -> None:
    assert parse_duration(show_duration(milliseconds / 1000)) == pytest.approx(milliseconds / 1000)


@given(st.one_of(st.text(max_size=80), st.integers(), st.floats(), st.booleans(), st.none()))
def test_never_fails_but_with_a_sentence(value: object) -> None:
    for parse in (parse_size, parse_duration, parse_share):
        try:
            parse(value)
        except ValueError as e:
            assert "; " in str(e)


def test_a_value_in_a_mistake_is_one_line_that_steers_no_terminal() -> None:
    assert describe("a\nb\x1b[2J模型") == '"a\\nb\\x1b[2J模型"'
    assert describe("x" * 100).isprintable() and len(describe("x" * 100)) == 60
