"""Whether the old and the new version may be held side by side."""

from __future__ import annotations

import pytest

from modelward.daemon.workers.overlap import Way, way

MIB = 1 << 20


@pytest.mark.parametrize(
    ("need", "available", "overlap", "expected"),
    [
        (100 * MIB, 120 * MIB, "auto", Way.BESIDE),
        (100 * MIB, 119 * MIB, "auto", Way.UNLOAD_FIRST),
        (100 * MIB, 119 * MIB, "required", Way.REFUSE),
        (100 * MIB, 120 * MIB, "required", Way.BESIDE),
        (0, 0, "required", Way.BESIDE),
        (100 * MIB, None, "required", Way.BESIDE),
    ],
)
def test_loads_beside_unless_memory_is_known_to_be_short(
    need: int, available: int | None, overlap: str, expected: Way
) -> None:
    assert way(need, available, overlap)[0] is expected


def test_says_the_figures() -> None:
    because = way(512 * MIB, 300 * MIB, "required")[1]
    assert because == "loading takes 512MiB, 300MiB are available, and rollout.overlap is required"
