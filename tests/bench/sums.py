"""Medians, spreads and ratios from the figures of several rounds. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple

from tests.bench.load import percentile

DRAWN_CLIENTS = 4
OURS, LIMITS = "modelward", ("bare", "pipeline", "bare-original")


class Spread(NamedTuple):
    """Median, smallest and largest of some rounds."""

    median: float
    low: float
    high: float

    def text(self, decimals: int = 2) -> str:
        """`1.23 (1.20–1.31)`; the median alone when all are the same to so many places."""
        middle, low, high = (f"{value:.{decimals}f}" for value in self)
        return middle if low == high else f"{middle} ({low}–{high})"


def spread(values: Sequence[float]) -> Spread:
    return Spread(statistics.median(values), min(values), max(values))


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """Round by round."""
    return spread([a / b if b else 0.0 for a, b in zip(ours, theirs, strict=False)])


def drawn(section: dict[str, Any]) -> list[dict[str, Any]]:
    """The cells that a picture of serving shows: of one number of clients."""
    return [cell for cell in section["cells"] if cell["clients"] == DRAWN_CLIENTS]


def rate(cell: dict[str, Any], name: str) -> list[float]:
    """Clips a second of each round."""
    return [turn["clips_per_second"] for turn in cell["systems"].get(name, [])]


def others(cell: dict[str, Any]) -> list[str]:
    """The servers beside ours that were measured in this cell."""
    return [name for name in cell["systems"] if name != OURS and name not in LIMITS]


def best_other(cell: dict[str, Any]) -> str:
    """Who of them did most clips a second; "" when there is none."""
    return max(others(cell), key=lambda name: statistics.median(rate(cell, name)), default="")


def against_best(cell: dict[str, Any]) -> Spread | None:
    best = best_other(cell)
    return ratios(rate(cell, OURS), rate(cell, best)) if best else None


def of_limit(cell: dict[str, Any], limit: str = "bare", name: str = OURS) -> Spread | None:
    """Clips a second, ours or of `name`, as a share of what ONNX Runtime alone does in one of the LIMITS."""
    return ratios(rate(cell, name), rate(cell, limit)) if rate(cell, limit) and rate(cell, name) else None


def latencies(cell: dict[str, Any], name: str) -> tuple[float, float]:
    """p50 and p95 of all rounds together, seconds."""
    pooled = [value for turn in cell["systems"][name] for value in turn["seconds"]]
    return percentile(pooled, 50), percentile(pooled, 95)


def p95_against_best(cell: dict[str, Any]) -> float | None:
    """Our 95th percentile over the least of another server's; None where nobody else was measured or ours was not."""
    theirs = [latencies(cell, name)[1] for name in others(cell)]
    if not theirs or OURS not in cell["systems"] or not min(theirs):
        return None
    return latencies(cell, OURS)[1] / min(theirs)


def cpu_against_least(cell: dict[str, Any]) -> float | None:
    """The least CPU time a clip of another server over ours; None where nobody else was measured or ours was not."""
    systems = cell["systems"]
    taken = {name: [turn["cpu_seconds"] for turn in systems.get(name, [])] for name in (*others(cell), OURS)}
    ours = taken.pop(OURS)
    return min(map(statistics.median, taken.values())) / statistics.median(ours) if ours and taken else None


def slowed(good: dict[str, Any]) -> float:
    """Median time of answers while something went on, over the usual median."""
    return statistics.median(good["during_seconds"]) / statistics.median(good["usual_seconds"])


def swaps(system: dict[str, Any], key: str) -> list[float]:
    """One figure of every swap that has it."""
    return [swap[key] for swap in system.get("swaps", []) if swap.get(key) is not None]


def stall(system: dict[str, Any]) -> float:
    """The longest answer in any swap over the 99th percentile of undisturbed ones."""
    p99 = system["steady"]["p99_seconds"]
    return max(swaps(system, "longest_seconds"), default=0.0) / p99 if p99 else 0.0
