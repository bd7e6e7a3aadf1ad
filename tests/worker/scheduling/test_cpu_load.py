"""Whether the machine has processors to spare, by the kernel's word."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from modelward.worker.scheduling.cpu_load import free_processors, room, runnable


@pytest.mark.parametrize(
    ("others", "processors", "free"),
    [
        (0, 1, 1),
        (0, 2, 2),
        (1, 2, 1),
        (5, 2, 0),
        (1, 4, 4),  # of four, one may be in use for a moment
        (2, 4, 3),
        (2, 8, 8),
        (3, 8, 7),
        (400, 8, 0),
    ],
)
def test_room_is_for_as_many_threads_as_others_leave(others: int, processors: int, free: int) -> None:
    assert room(runnable=others + 1, processors=processors) == free


def test_the_kernel_counts_at_least_the_one_that_asks() -> None:
    assert 1 <= runnable() < 1 << 20


@pytest.mark.parametrize("text", ["", "0.00 0.01 0.05", "0.00 0.01 0.05 x/100 1", None])
def test_a_kernel_that_does_not_tell_is_no_reason_to_take_more(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "loadavg"
    if text is not None:
        path.write_text(text)
    assert free_processors(path) == 0


def test_all_processors_of_a_quiet_machine_are_free_and_none_of_a_busy_one(tmp_path: Path) -> None:
    path = tmp_path / "loadavg"
    path.write_text("9.00 8.00 7.00 1/999 12345\n")
    assert free_processors(path) == len(os.sched_getaffinity(0))
    path.write_text("0.00 0.00 0.00 400/999 12345\n")
    assert free_processors(path) == 0
