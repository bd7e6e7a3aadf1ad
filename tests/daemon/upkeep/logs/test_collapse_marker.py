"""The blank line that says where a collapsed file was cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.daemon.upkeep.logs import collapse_marker

NUMBERS = st.integers(0, 2**64 - 1)


@given(NUMBERS, NUMBERS, st.integers(collapse_marker.LENGTH + 1, 5000))
def test_a_mark_tells_what_it_was_given_and_is_one_blank_line(number: int, taken: int, length: int) -> None:
    line = collapse_marker.write_mark(number, taken, length)
    assert len(line) == length
    assert line.strip() == b""
    assert line.count(b"\n") == 1 and line.endswith(b"\n")
    assert collapse_marker.read_mark(line) == (number, taken)


@given(st.binary(max_size=300))
def test_what_is_no_mark_is_not_read_as_one(head: bytes) -> None:
    found = collapse_marker.read_mark(head)
    assert (
        found is None
        or collapse_marker.write_mark(*found, collapse_marker.LENGTH + 1)[:-1] == head[: collapse_marker.LENGTH]
    )


def test_a_line_of_spaces_is_no_mark() -> None:
    assert collapse_marker.read_mark(b" " * 500) is None


def test_a_mark_is_never_cut_short() -> None:
    with pytest.raises(ValueError, match="at least"):
        collapse_marker.write_mark(1, 2, collapse_marker.LENGTH)


@given(st.integers(0, 10_000_000), st.sampled_from([4096, 65536]))
def test_a_cut_is_whole_blocks_and_leaves_room_for_a_mark(end: int, block: int) -> None:
    cut = collapse_marker.cut_at(end, block)
    assert cut % block == 0
    assert cut == 0 or end - cut > collapse_marker.LENGTH
    assert end - cut <= block + collapse_marker.LENGTH + 1
