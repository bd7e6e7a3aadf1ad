from __future__ import annotations

import pytest
from tests.balance import Run, idle_while_waiting, most_at_once


def run(asked: float, began: float, ended: float, worker: str = "w1") -> Run:
    return Run(worker, "r", 0, 1, asked, began, ended)


@pytest.mark.parametrize(
    ("runs", "spells"),
    [
        ([run(0, 0, 5)], []),
        ([run(0, 0, 5), run(1, 5, 6)], [4]),
        ([run(0, 0, 5), run(1, 5, 6), run(0, 0, 6, "w2")], []),
        ([run(0, 0, 5), run(1, 5, 6), run(0, 0, 3, "w2")], [2]),
        ([run(0, 0, 5), run(1, 5, 6), run(0, 0, 3, "w2"), run(4, 4, 6, "w2")], [1]),
        ([run(0, 0, 1), run(0, 1, 3), run(0, 2, 3)], [2]),
    ],
)
def test_finds_when_something_waited_beside_a_free_slot(runs: list[Run], spells: list[float]) -> None:
    assert idle_while_waiting(runs, 2) == pytest.approx(spells)


def test_counts_what_ran_at_once() -> None:
    assert most_at_once([run(0, 0, 5), run(0, 5, 6), run(0, 1, 2)]) == 2
