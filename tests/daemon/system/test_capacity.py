"""How many workers and how much memory there is room for."""

from __future__ import annotations

import pytest

from modelward.daemon.system.capacity import (
    Capacity,
    Need,
    child_bytes,
    lone_threads,
    workers,
)

MIB, GIB = 1 << 20, 1 << 30
MODEL = Need(240 * MIB, 308 * MIB)


@pytest.mark.parametrize(
    ("capacity", "need", "count", "because"),
    [
        (Capacity(8), Need(), 8, "8 of 8 processors"),
        (Capacity(1), Need(), 1, "1 of 1 processor"),
        (Capacity(8, quota=1.5), Need(), 2, "2 of 8 processors: CPU quota 150 %"),
        (Capacity(8, quota=0.5), Need(), 1, "1 of 8 processors: CPU quota 50 %"),
        (Capacity(2, quota=7.5), Need(), 2, "2 of 2 processors"),
        (Capacity(8, memory_bytes=32 * GIB), MODEL, 8, "8 of 8 processors: memory for 75 workers"),
        (Capacity(8, memory_bytes=2 * GIB), MODEL, 2, "2 of 8 processors: memory for 2 workers"),
        (Capacity(8, 4.0, 2 * GIB), MODEL, 2, "2 of 8 processors: CPU quota 400 %; memory for 2 workers"),
        (Capacity(8, memory_bytes=GIB), MODEL, 1, "1 of 8 processors: memory for 1 worker"),
        (Capacity(8, memory_bytes=64 * MIB), MODEL, 1, "1 of 8 processors: memory for 1 worker"),
        (Capacity(8, memory_bytes=2 * GIB), Need(), 8, "8 of 8 processors"),
    ],
)
def test_there_are_as_many_workers_as_processors_and_memory_allow(
    capacity: Capacity, need: Need, count: int, because: str
) -> None:
    assert workers(capacity, need) == (count, because)


def test_a_version_that_is_not_judged_yet_counts_with_its_files() -> None:
    small, large = (workers(Capacity(64, memory_bytes=8 * GIB), Need(n * MIB))[0] for n in (10, 900))
    assert large < small


def test_a_version_that_shares_its_weights_leaves_room_for_more_workers() -> None:
    private, mapped = (workers(Capacity(64, memory_bytes=4 * GIB), Need(240 * MIB, n * MIB))[0] for n in (308, 62))
    assert mapped > private


@pytest.mark.parametrize(
    ("limit", "available", "whole", "granted"),
    [
        (4 * GIB, None, None, 4 * GIB),
        (4 * GIB, 30 * GIB, 32 * GIB, 4 * GIB),
        (4 * GIB, 900 * MIB, GIB, 836 * MIB),
        (0, 900 * MIB, GIB, 836 * MIB),
        (0, None, None, 0),
        (512 * MIB, 900 * MIB, GIB, 512 * MIB),
        (4 * GIB, 10 * MIB, GIB, 64 * MIB),
    ],
)
def test_a_validator_takes_what_there_is_and_never_more_than_configured(
    limit: int, available: int | None, whole: int | None, granted: int
) -> None:
    assert child_bytes(limit, available, whole) == granted


def test_a_run_that_has_the_machine_to_itself_keeps_to_the_quota() -> None:
    assert lone_threads(Capacity(8), 8, 1) == 8
    assert lone_threads(Capacity(8, quota=2.5), 8, 1) == 3
    assert lone_threads(Capacity(8, quota=0.5), 8, 1) == 0
    assert lone_threads(Capacity(32), 32, 1) == 8
