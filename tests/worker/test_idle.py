"""Whether the machine has processors to spare, by the kernel's word."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from modelward.worker.idle import has_room, idle, runnable


@pytest.mark.parametrize(
    ("threads", "others", "processors", "room"),
    [
        (2, 0, 2, True),
        (2, 1, 2, False),
        (4, 1, 4, True),  # of four, one may be in use for a moment
        (4, 2, 4, False),
        (8, 2, 8, True),
        (8, 3, 8, False),
        (2, 3, 4, True),  # one of ours waits for a quarter at most
        (2, 4, 4, False),
        (3, 0, 2, False),
    ],
)
def test_room_is_for_as_many_threads_as_others_leave(threads: int, others: int, processors: int, room: bool) -> None:
    assert has_room(threads, runnable=others + 1, processors=processors) is room


def test_the_kernel_counts_at_least_the_one_that_asks() -> None:
    assert 1 <= runnable() < 1 << 20


@pytest.mark.parametrize("text", ["", "0.00 0.01 0.05", "0.00 0.01 0.05 x/100 1", None])
def test_a_kernel_that_does_not_tell_is_no_reason_to_take_more(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "loadavg"
    if text is not None:
        path.write_text(text)
    assert not idle(2, path)


def test_a_machine_that_is_quiet_or_becomes_so_has_room(tmp_path: Path) -> None:
    path = tmp_path / "loadavg"
    path.write_text("9.00 8.00 7.00 1/999 12345\n")
    assert idle(len(os.sched_getaffinity(0)), path)
    path.write_text("0.00 0.00 0.00 400/999 12345\n")
    assert not idle(len(os.sched_getaffinity(0)), path)
