"""Requests, errors and durations by version and worker, added up from what workers report.

A worker counts since it began. It reports once more before it swaps. So what came between two of its reports was
answered by the version that it served then. Pure. Invariant: at most MAX_PAIRS pairs and MAX_VERSIONS versions are
known; those that were silent for longest are forgotten first.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Final, TypeVar

from msgspec import Struct

from ...worker.protocol import BUCKETS_SECONDS, Beat

MAX_PAIRS: Final = 128
MAX_VERSIONS: Final = 128
_BUCKETS: Final = len(BUCKETS_SECONDS) + 1
K = TypeVar("K", bound=Hashable)


class AnswerCounts(Struct, frozen=True):
    """Answers of a worker or a version. `buckets` by duration, as in `Durations`, and their `seconds` together."""

    requests: int = 0
    errors: int = 0
    buckets: tuple[int, ...] = (0,) * _BUCKETS
    seconds: float = 0.0

    def plus(self, other: AnswerCounts) -> AnswerCounts:
        buckets = tuple(a + b for a, b in zip(self.buckets, other.buckets, strict=True))
        return AnswerCounts(
            self.requests + other.requests, self.errors + other.errors, buckets, self.seconds + other.seconds
        )

    def since(self, earlier: AnswerCounts) -> AnswerCounts:
        """What came after `earlier`. A count that went back is no count: then nothing came."""
        buckets = tuple(max(0, a - b) for a, b in zip(self.buckets, earlier.buckets, strict=True))
        requests, errors = max(0, self.requests - earlier.requests), max(0, self.errors - earlier.errors)
        return AnswerCounts(requests, errors, buckets, max(0.0, self.seconds - earlier.seconds))

    @property
    def counted(self) -> int:
        """Those whose duration is known."""
        return sum(self.buckets)

    def quantile(self, share: float) -> float | None:
        """What at least `share` of the durations do not exceed, between the bounds by their number; None for none."""
        wanted, below, low = share * self.counted, 0, 0.0
        if not self.counted:
            return None
        for bound, count in zip(BUCKETS_SECONDS, self.buckets, strict=False):
            if count and below + count >= wanted:
                return low + (bound - low) * (wanted - below) / count
            below, low = below + count, bound
        return BUCKETS_SECONDS[-1]


class Traffic:
    """See the module. `pairs` by worker and version, `versions` over all workers since `began` (wall seconds)."""

    def __init__(self, began: float) -> None:
        self.began = began
        self.pairs: dict[tuple[str, str], AnswerCounts] = {}
        self.versions: dict[str, AnswerCounts] = {}
        self._last: dict[tuple[str, int], AnswerCounts] = {}

    def add(self, worker: str, pid: int, version: str, beat: Beat) -> None:
        """A worker's report; `version` is what it served until now, "" for nothing.

        Of a process that reports for the first time only the zero point is known.
        """
        buckets = (*beat.durations.buckets, *(0,) * _BUCKETS)[:_BUCKETS]
        now = AnswerCounts(beat.requests, beat.errors, buckets, beat.durations.seconds)
        new = now.since(self._last.get((worker, pid), now))
        _put(self._last, (worker, pid), now, MAX_PAIRS)
        if version and (new.requests or new.errors or new.counted):
            _put(self.pairs, (worker, version), self.pairs.get((worker, version), AnswerCounts()).plus(new), MAX_PAIRS)
            _put(self.versions, version, self.versions.get(version, AnswerCounts()).plus(new), MAX_VERSIONS)

    def take_up(self, earlier: Mapping[str, AnswerCounts], began: float) -> None:
        """Adds what former daemons counted of each version. Raises ValueError for what they cannot have counted."""
        if any(len(answers.buckets) != _BUCKETS for answers in earlier.values()):
            raise ValueError("its durations are counted by other bounds")
        for version, answers in earlier.items():
            _put(self.versions, version, self.versions.get(version, AnswerCounts()).plus(answers), MAX_VERSIONS)
        self.began = min(self.began, began)


def _put(table: dict[K, AnswerCounts], key: K, value: AnswerCounts, most: int) -> None:
    """As the newest; what was silent for longest makes room."""
    table.pop(key, None)
    while len(table) >= most:
        del table[next(iter(table))]
    table[key] = value
