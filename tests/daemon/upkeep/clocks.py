"""A clock that is moved by hand."""

from __future__ import annotations

NOON = 1_767_355_200.0  # 2026-01-02T12:00:00Z


class HandClock:
    """Stands still until told otherwise; the two clocks can be moved apart."""

    def __init__(self, wall: float = NOON) -> None:
        self._wall, self._monotonic = wall, 1000.0

    def elapsed(self) -> float:
        return self._monotonic

    def wall(self) -> float:
        return self._wall

    def monotonic(self) -> float:
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Time goes by."""
        self._wall += seconds
        self._monotonic += seconds

    def step(self, seconds: float) -> None:
        """Somebody sets the clock."""
        self._wall += seconds
