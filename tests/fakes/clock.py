"""A clock that a test moves by hand, a `Clock` as tests/daemon/system/test_clock.py has it."""

from __future__ import annotations


class FakeClock:
    """Stands still between two calls of `advance`; the wall may be set apart from the rest, as people do."""

    def __init__(self, monotonic: float = 1000.0, wall: float = 1_800_000_000.0) -> None:
        self._monotonic, self._wall = monotonic, wall

    def monotonic(self) -> float:
        return self._monotonic

    def elapsed(self) -> float:
        return self._monotonic

    def wall(self) -> float:
        return self._wall

    def advance(self, seconds: float) -> None:
        """Both clocks go on."""
        if seconds < 0:
            raise ValueError("cannot go back: nothing monotonic does")
        self._monotonic += seconds
        self._wall += seconds

    def set_wall(self, wall: float) -> None:
        """Somebody set the machine's clock."""
        self._wall = wall
