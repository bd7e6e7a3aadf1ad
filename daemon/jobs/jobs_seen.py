"""What the last reading of the jobs found, and how long none of them has made progress. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct, field

from ...worker.shared.job_records import QUEUED, RUNNING


class JobsSeen(Struct, frozen=True):
    """`counts` of jobs by state, `bytes` of all together, `still_seconds` since a job made progress (0: none waits).

    `trouble` is why the jobs could not be read, or which one could not; "" for nothing.
    """

    counts: Mapping[str, int] = field(default_factory=dict)
    bytes: int = 0
    still_seconds: float = 0.0
    callbacks_waiting: int = 0
    callbacks_given_up: int = 0
    trouble: str = ""

    @property
    def unfinished(self) -> int:
        """The number of jobs that have not ended."""
        return self.counts.get(QUEUED, 0) + self.counts.get(RUNNING, 0)

    def used_percent(self, most_jobs: int, most_bytes: int) -> float:
        """The used share of the room for jobs, by count or by bytes, whichever is larger."""
        return 100.0 * max(sum(self.counts.values()) / most_jobs, self.bytes / most_bytes)


Marks = frozenset[tuple[str, int]]


class StandstillClock:
    """Measures for how long no job has made progress. `marks` change with progress: ended jobs, and bytes of pieces."""

    def __init__(self) -> None:
        self._marks: Marks | None = None
        self._since = 0.0

    def seconds(self, marks: Marks, unfinished: int, now: float) -> float:
        """Seconds without progress at `now`, monotonic; 0 while nothing waits. A new job is no progress."""
        if unfinished == 0 or self._marks is None or marks != self._marks:
            self._since = now
        self._marks = marks
        return now - self._since
