"""What serving is measured with: which clips from how many clients, how many of them, how often, beside which loops.

Pure. Small turns are repeated, since they are the ones that the machine's moods change; what takes minutes has one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tests.bench.precision import Precision
from tests.bench.sums import LIMITS


@dataclass(frozen=True)
class Cell:
    """`requests` a turn from all `clients` together; every server has `rounds` turns, and so has every loop of ONNX
    Runtime alone that `limits` names."""

    seconds: float
    clients: int
    requests: int
    rounds: int = 1
    limits: tuple[str, ...] = LIMITS


def _short(seconds: float, rounds: int, requests: dict[int, int]) -> list[Cell]:
    return [Cell(seconds, clients, count, rounds) for clients, count in requests.items()]


CELLS: dict[Precision, list[Cell]] = {
    "int8": [
        *_short(5.0, 3, {1: 8, 4: 24, 16: 48}),
        *_short(10.0, 3, {1: 6, 4: 16, 16: 32}),
        *_short(30.0, 2, {1: 3, 4: 8, 16: 16}),
        Cell(600.0, 1, 1),
        *(Cell(600.0, clients, clients, limits=LIMITS[:1]) for clients in (4, 16)),
    ],
    "fp32": [
        *_short(5.0, 2, {1: 6, 4: 12, 16: 24}),
        *_short(10.0, 1, {1: 4, 4: 8, 16: 16}),
        *_short(30.0, 1, {1: 2, 4: 4, 16: 16}),
        Cell(600.0, 1, 1, limits=LIMITS[:1]),
    ],
}
QUICK = _short(1.0, 1, {1: 2, 4: 4})


def wanted(cells: Sequence[Cell], lengths: Sequence[float]) -> list[Cell]:
    """Those with clips of these lengths; all when none is named. Raises ValueError when there are none."""
    found = [cell for cell in cells if not lengths or cell.seconds in lengths]
    if not found:
        there = ", ".join(f"{seconds:g}" for seconds in sorted({cell.seconds for cell in cells}))
        raise ValueError(f"cannot measure: no clips of {', '.join(f'{s:g}' for s in lengths)} s, only of {there}")
    return found
